"""Filters in the running services: real accounts, a milter on a socket, a check that pip has put beside eqmail."""

import shutil
import smtplib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mail_system import MailSystem, until
from tests.support.scripted_milter import ScriptedMilter

pytestmark = pytest.mark.root
EXAMPLE = Path(__file__).resolve().parents[1] / "data/smtpcheck"


@pytest.fixture
def beside(real_home: Path, tmp_path: Path) -> Iterator[None]:
    """The example is installed where the programs of this home look for their code."""
    source = shutil.copytree(EXAMPLE, tmp_path / "source", ignore=shutil.ignore_patterns("__pycache__"))
    target = Path(tempfile.mkdtemp(prefix="eqmail-check-"))
    # The service that loads it has given up root.
    target.chmod(0o755)
    words = ["install", "-q", "--no-index", "--no-deps", "--no-build-isolation", "--target", str(target), str(source)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    programs = [real_home / "bin/qmail-start"]
    before = [program.read_text() for program in programs]
    for program, text in zip(programs, before, strict=True):
        program.write_text(text.replace("\n", f"\nimport sys\nsys.path.insert(0, {str(target)!r})\n", 1))
        assert str(target) in program.read_text()
    yield
    shutil.rmtree(target)
    for program, text in zip(programs, before, strict=True):
        program.write_text(text)
    for name in ("milters", "smtpchecks"):
        (real_home / "control" / name).unlink(missing_ok=True)


def test_the_services_ask_their_filters(real_home: Path, beside: None) -> None:
    with ScriptedMilter() as milter:
        milter.script[b"E"] = [b"i\0\0\0\1X-Milter\0was here\0", b"c"]
        (real_home / "control/milters").write_text(f"{milter.address}\n")
        (real_home / "control/smtpchecks").write_text("doorman\n")
        mail_system = MailSystem(real_home)
        try:
            milter.script[b"R"] = b"y550 5.1.1 not him\0"
            with smtplib.SMTP("127.0.0.1", mail_system.port, timeout=60) as client:
                client.ehlo("me.test")
                assert client.mail("a@slow.test")[0] == 451
                assert client.mail("a@b.test")[0] == 250
                assert client.rcpt("nobody@mail.example.org")[0] == 550
                milter.script[b"R"] = b"c"
                assert client.rcpt("nobody@mail.example.org")[0] == 250
                assert client.data("Subject: x\r\n\r\nhello\r\n")[0] == 250
            received = [payload for one in range(len(milter.received)) for payload in milter.payloads(b"L", one)]
            assert any(payload.startswith(b"X-Doorman\x00127.0.0.1") for payload in received)
            (real_home / "control/milters").unlink()
            (real_home / "control/smtpchecks").unlink()
            mail_system.stop()
            mail_system.start()
            count = len(milter.received)
            with smtplib.SMTP("127.0.0.1", mail_system.port, timeout=60) as client:
                client.ehlo("me.test")
                assert client.mail("a@slow.test")[0] == 250
            assert len(milter.received) == count
            until(lambda: "message accepted" in mail_system.log(), "the line of an accepted message")
        finally:
            mail_system.stop()
