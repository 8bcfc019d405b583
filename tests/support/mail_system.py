"""A running installation for tests: started as a user would start it, watched through its log, ended by TERM."""

import os
import random
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from eqmail_core.service.status import READY, parse_status

TIMEOUT_S = 60.0
"""Far longer than anything takes: a busy machine is no fault."""


def free_port() -> int:
    """A free TCP port outside the range of ephemeral client ports."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def until(condition: Callable[[], object], what: str, timeout_s: float = TIMEOUT_S) -> None:
    """Wait until `condition` holds; fail with `what` when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not in {timeout_s:g} s: {what}"
        time.sleep(0.02)


class MailSystem:
    """The services of one home, with the resident SMTP service on a free port of 127.0.0.1."""

    installation: Path | None = None
    """Where it is not the home."""

    def __init__(self, home: Path, *words: str, **environ: str) -> None:
        """`words`: the default delivery and the logger's command."""
        self.home = home
        self.environ = environ
        self.port = free_port()
        self.log_path = home / "test.log"
        self.words = words or ("./Maildir/",)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = [str(self.home / "bin/qmail-start"), "--smtp", f"127.0.0.1:{self.port}", *self.words]
        environ = {"PATH": f"{self.home}/bin:/usr/bin:/bin", "HOME": str(self.home), "EQMAIL_HOME": str(self.home)}
        environ |= self.environ
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ, start_new_session=True
            )
        record = self.status_path()
        record.unlink(missing_ok=True)
        until(lambda: record.exists() and self.all_serve(), "services that serve")
        until(self.answers, "an SMTP greeting; the log says:\n" + self.log()[-2000:])

    def all_serve(self) -> bool:
        """Whether every service has reported readiness; an exit before that fails the start."""
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        return all(it.state == READY for it in parse_status(self.status_path().read_bytes()))

    def status_path(self) -> Path:
        """The status file of the supervisor."""
        return (self.installation or self.home) / "run/status"

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as sock:
                sock.settimeout(60)
                return sock.recv(100).startswith(b"220")
        except OSError:
            return False

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def services(self) -> dict[int, str]:
        """Every process of the mail system below the parent, agents too: pid and name."""
        assert self.process is not None
        parents: dict[int, tuple[int, str]] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    text = Path(f"/proc/{entry}/stat").read_text()
                except OSError:
                    continue
                name, rest = text[text.index("(") + 1 :].rsplit(")", 1)
                parents[int(entry)] = (int(rest.split()[1]), name)
        found: dict[int, str] = {}
        level = [self.process.pid]
        while level:
            level = [pid for pid, (parent, _) in parents.items() if parent in level]
            found |= {pid: parents[pid][1] for pid in level}
        return found

    def stop(self, timeout_s: float = TIMEOUT_S) -> None:
        """TERM, as an init script does; nothing may be left."""
        assert self.process is not None
        below = self.services()
        self.process.terminate()
        assert self.process.wait(timeout_s) == 0, self.log()[-3000:]

        def left() -> list[int]:
            return [pid for pid in below if os.path.exists(f"/proc/{pid}") and not _is_zombie(pid)]

        # An agent ends with its socket, which is a moment later on a busy machine.
        deadline = time.monotonic() + 60
        while left() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not left(), f"still there: {left()}"

    def kill(self) -> None:
        """Everything at once and without warning, as a power cut would."""
        assert self.process is not None
        for pid in [self.process.pid, *self.services()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        # A service that began meanwhile holds the port until it sees that its parent is gone.
        until(self._port_is_free, "the end of what began meanwhile")

    def _port_is_free(self) -> bool:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", self.port))
                sock.listen()
            except OSError:
                return False
        return True

    def send(self, recipients: list[str], text: str, sender: str = "sender@example.net") -> None:
        with smtplib.SMTP("127.0.0.1", self.port, "client.example.net", timeout=60) as client:
            client.sendmail(sender, recipients, text.replace("\n", "\r\n"))

    def inject(self, words: list[str], text: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.home / "bin/qmail-inject"), *words]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def _is_zombie(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def messages(maildir: Path) -> list[str]:
    """The texts of all new messages of a Maildir."""
    new = maildir / "new"
    return [path.read_text(errors="replace") for path in sorted(new.iterdir())] if new.is_dir() else []


def make_maildir(path: Path) -> Path:
    for name in ("", "tmp", "new", "cur"):
        (path / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def python_is_reachable() -> bool:
    """Whether other accounts can run this interpreter."""
    path = Path(sys.executable).resolve()
    return all(folder.stat().st_mode & 0o001 for folder in path.parents)
