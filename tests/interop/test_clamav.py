"""A real clamd with one signature of the test's own, and clamav-milter before it, for both drivers of the server.

No database is fetched: clamd starts in a second and takes 16 MB.
"""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.filtered_servers import KINDS, MESSAGE, QUEUED, open_conversation
from tests.support.foreign_servers import unpacked
from tests.support.mail_system import until
from tests.support.smtp_servers import Home

pytestmark = [pytest.mark.slow, pytest.mark.root]

VIRUS = b"this stands for a virus: 8f3a$H+H*"
INFECTED = MESSAGE + VIRUS + b"\r\n"

_CLAMD = """
DatabaseDirectory {0}/db
LocalSocket {0}/clamd.sock
LogFile {0}/clamd.log
TemporaryDirectory {0}
Foreground yes
MaxThreads 2
"""
_MILTER = """
MilterSocket {0}/milter.sock
ClamdSocket unix:{0}/clamd.sock
LogFile {0}/milter.log
TemporaryDirectory {0}
Foreground yes
AddHeader Add
OnFail Defer
RejectMsg we found %v
OnInfected {1}
"""


class ClamAv:
    """clamd and its milter in one folder; `says` is the action of the milter on infected mail."""

    def __init__(self, folder: Path, says: str) -> None:
        self.folder = folder
        (folder / "db").mkdir()
        (folder / "db/own.ndb").write_text(f"Own.Test:0:*:{VIRUS.hex()}\n")
        (folder / "clamd.conf").write_text(_CLAMD.format(folder))
        (folder / "milter.conf").write_text(_MILTER.format(folder, says))
        self._running: list[subprocess.Popen[bytes]] = []
        self.address = f"unix:{folder}/milter.sock"
        self.clamd = self._start("clamav-daemon", "clamd", "clamd")
        self.milter = self._start("clamav-milter", "clamav-milter", "milter")

    def _start(self, package: str, program: str, name: str) -> "subprocess.Popen[bytes]":
        command = [unpacked(package) / "usr/sbin" / program, "-c", self.folder / f"{name}.conf"]
        with (self.folder / f"{name}.out").open("wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self._running.append(process)

        def listens() -> bool:
            assert process.poll() is None, self.log()
            with socket.socket(socket.AF_UNIX) as client:
                return client.connect_ex(f"{self.folder}/{name}.sock") == 0

        until(listens, f"{name} listens")
        return process

    def log(self) -> str:
        return "\n".join(path.read_text() for pattern in ("*.out", "*.log") for path in self.folder.glob(pattern))

    def stop(self) -> None:
        for process in reversed(self._running):
            process.kill()
            process.wait()


@contextmanager
def clamav(folder: Path, says: str = "Reject") -> Iterator[ClamAv]:
    """Both running."""
    running = ClamAv(folder, says)
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "clamav"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_clean_mail_passes_and_a_virus_is_refused(home: Home, folder: Path, kind: str) -> None:
    with clamav(folder) as scanner:
        home.write("milters", f"{scanner.address}\n")
        with open_conversation(kind, home) as client:
            client.command(b"EHLO me.test")
            assert client.send().startswith(b"250 ok ")
            assert client.send(message=INFECTED) == b"550 5.7.1 we found Own.Test.UNOFFICIAL", scanner.log()
            assert client.send(message=MESSAGE + b"x" * 76 + b"\r\n" * 20_000).startswith(b"250 ok ")
            clean, long = client.queued()
        assert clean[0] == b"Fjoe@a.test\0Tj@ours.test\0\0"
        head, _, body = clean[1].partition(b"\n\n")
        assert head.startswith(b"X-Virus-Status: Clean\nX-Virus-Scanned: clamav-milter ")
        assert (head.split(b"\n", 2)[2], body) == tuple(QUEUED.split(b"\n\n", 1))
        assert len(long[1]) > 20_000


@pytest.mark.parametrize("kind", KINDS)
def test_a_virus_is_quarantined_where_clamav_requests_it(home: Home, folder: Path, kind: str) -> None:
    home.write("quarantineto", "judge@ours.test\n")
    with clamav(folder, "Quarantine") as scanner:
        home.write("milters", f"{scanner.address}\n")
        with open_conversation(kind, home) as client:
            assert client.send(message=INFECTED).startswith(b"250 ok "), scanner.log()
            ((envelope, message),) = client.queued()
    assert envelope == b"F\0Tjudge@ours.test\0\0"
    assert message.startswith(
        b"X-Quarantine-Reason: quarantined by clamav-milter\n"
        b"X-Quarantine-Sender: <joe@a.test>\nX-Quarantine-Recipients: <j@ours.test>\n"
    )
    assert b"\nX-Virus-Status: Infected (Own.Test" in message
    assert message.endswith(VIRUS + b"\n")


@pytest.mark.parametrize("kind", KINDS)
def test_without_clamd_mail_is_deferred(home: Home, folder: Path, kind: str) -> None:
    with clamav(folder) as scanner:
        home.write("milters", f"{scanner.address} timeout=10\n")
        scanner.clamd.kill()
        scanner.clamd.wait()
        with open_conversation(kind, home) as client:
            codes = [
                client.command(line)[:3] for line in (b"MAIL FROM:<joe@a.test>", b"RCPT TO:<j@ours.test>", b"DATA")
            ]
            if codes[-1] == b"354":
                codes.append(client.command(MESSAGE + b".")[:3])
            assert b"451" in codes, scanner.log()
            assert not client.queued()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("default", "answer"), [("tempfail", b"451"), ("accept", b"250"), ("reject", b"550")])
def test_without_the_milter_the_line_in_milters_decides(
    home: Home, folder: Path, kind: str, default: str, answer: bytes
) -> None:
    with clamav(folder) as scanner:
        home.write("milters", f"{scanner.address} default={default}\n")
        scanner.milter.kill()
        scanner.milter.wait()
        with open_conversation(kind, home) as client:
            assert client.command(b"MAIL FROM:<joe@a.test>").startswith(answer)
