"""A private installation at work: real services, real mail, everything below one folder, nothing left running.

The person who watches sees what is sent, the log of qmail-send as it happens, and the files that result.

Fails: Refusal when something that should happen does not, with the last lines of the log.
"""

import os
import shutil
import signal
import smtplib
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError
from eqmail_setup.installation.accounts import caller
from eqmail_setup.templating import render

HOST = "mail.demo.example"
FIRST_PORT = 2525
TIMEOUT_S = 30.0
_PROGRAM = '|(echo "$SENDER wrote to $RECIPIENT:"; wc -l) | tr "\\n" " " >>handled\n'

Say = Callable[[str], None]


class Demo:
    """The steps of the demonstration, each reported through `say`; `site` is a new single-user installation."""

    def __init__(self, site: Site, write_line: Say) -> None:
        self._site = site
        self._write_line = write_line
        self._ann = Path(site.home) / "people/ann"
        self._log: list[str] = []
        self._services: subprocess.Popen[str] | None = None
        self._listener: threading.Thread | None = None
        self._environ = {"PATH": f"{site.bin}:/usr/bin:/bin", "EQMAIL_HOME": site.home, "LC_ALL": "C"}

    def prepare(self) -> None:
        """Give the installation a user, with a Maildir and an address that a program handles."""
        self._ann.mkdir(parents=True)
        self._run("maildirmake", str(self._ann / "Maildir"))
        (self._ann / ".qmail").write_text("./Maildir/\n")
        (self._ann / ".qmail-count").write_text(_PROGRAM)
        values = {
            "user": caller()[0],
            "uid": os.getuid(),
            "gid": os.getgid(),
            "ann": self._ann,
            "alias": self._site.alias,
            "delimiter": self._site.break_char.decode(),
        }
        (Path(self._site.users) / "assign").write_bytes(render("demo/assign.j2", **values))
        self._run("qmail-newu")

    def start(self) -> int:
        """Start the services and wait for the greeting; the port."""
        port = free_port(FIRST_PORT)
        command = [f"{self._site.bin}/qmail-start", "--smtp", f"127.0.0.1:{port}", "./Maildir/"]
        self._services = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environ,
            text=True,
            errors="replace",
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._wait(lambda: _answers(port), "the SMTP service does not answer")
        return port

    def send(self, port: int) -> None:
        """Send four messages: over SMTP, by a program, to a program, and to an unknown user."""
        write_line, ann = self._write_line, f"ann@{HOST}"
        write_line(f"\n1. over SMTP, 127.0.0.1:{port}, a message from nina@elsewhere.example to {ann}")
        date = formatdate(localtime=True)
        letter = render("demo/welcome.eml.j2", to=ann, date=date, number=f"{time.time_ns()}.1")
        with smtplib.SMTP("127.0.0.1", port, local_hostname="elsewhere.example", timeout=TIMEOUT_S) as client:
            client.ehlo_or_helo_if_needed()
            client.mail("nina@elsewhere.example")
            client.rcpt(ann)
            code, text = client.data(letter.replace(b"\n", b"\r\n"))
        write_line(f"   answer: {code} {text.decode('ascii', 'replace')}")
        self._wait_for(1, lambda: self._delivered() == 1, "the message does not arrive")
        write_line(f"\n2. bin/qmail-inject, from the command line to {ann}")
        self._inject(f"To: {ann}\nSubject: Hello from a program\n\nqmail-inject completed this header.\n")
        self._wait_for(2, lambda: self._delivered() == 2, "the message does not arrive")
        address = f"ann{self._site.break_char.decode()}count@{HOST}"
        write_line(f"\n3. to {address}, which a program in .qmail-count handles")
        self._inject(f"To: {address}\nSubject: Hello, program\n\none\ntwo\nthree\n")
        self._wait_for(3, (self._ann / "handled").exists, "the program does not run")
        write_line(f"\n4. to unknown@{HOST}, which does not exist: it bounces")
        self._inject(f"To: unknown@{HOST}\nSubject: Hello\n\nIs anybody there?\n")
        self._wait_for(5, lambda: self._delivered() == 3, "the bounce does not arrive")

    def show(self) -> None:
        """Show what was delivered: files, one of them whole, the program's output, the bounce."""
        letters = sorted((self._ann / "Maildir/new").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        self._write_line("\nIn Ann's Maildir:")
        for path in letters:
            subject = next((line for line in _lines(path) if line.startswith("Subject: ")), "Subject: ?")
            self._write_line(f"   {path}\n      {subject}")
        self._write_line("\nThe first of them, as it lies there:")
        self._show_lines(_lines(letters[0]))
        self._write_line("\nWhat the program in .qmail-count wrote:")
        self._show_lines(_lines(self._ann / "handled"))
        self._write_line("\nThe bounce:")
        bounce = next(path for path in letters if "failure notice" in path.read_text(errors="replace"))
        self._show_lines(_lines(bounce))

    def stop(self) -> None:
        """Stop the services and wait until all have ended."""
        if self._services is None:
            return
        self._services.terminate()
        try:
            code = self._services.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._services.kill()
            raise EqmailError("the services did not stop on TERM") from None
        if self._listener is not None:
            self._listener.join(TIMEOUT_S)
        if code != 0:
            raise self._refusal(f"the services ended with exit code {code}")
        self._services = None

    def _run(self, program: str, *arguments: str) -> None:
        ended = subprocess.run(
            [f"{self._site.bin}/{program}", *arguments], env=self._environ, capture_output=True, text=True, check=False
        )
        if ended.returncode != 0:
            raise EqmailError(f"{program} ended with exit code {ended.returncode}: {ended.stderr.strip()}")

    def _inject(self, message: str) -> None:
        environ = self._environ | {"QMAILUSER": "ann", "QMAILHOST": HOST, "QMAILNAME": "Ann"}
        ended = subprocess.run(
            [f"{self._site.bin}/qmail-inject"], input=message, env=environ, capture_output=True, text=True, check=False
        )
        if ended.returncode != 0:
            raise self._refusal(f"qmail-inject ended with exit code {ended.returncode}: {ended.stderr.strip()}")

    def _listen(self) -> None:
        assert self._services is not None and self._services.stdout is not None
        with self._services.stdout as log:
            for line in log:
                self._log.append(line.rstrip("\n"))
                self._write_line(f"   log: {line.rstrip()}")

    def _delivered(self) -> int:
        return len(list((self._ann / "Maildir/new").iterdir()))

    def _wait_for(self, ended: int, done: Callable[[], bool], failure: str) -> None:
        """Wait until something is there and so many messages have left the queue."""
        self._wait(done, failure)
        self._wait(lambda: sum("end msg " in line for line in self._log) >= ended, "the queue does not empty")

    def _wait(self, done: Callable[[], bool], failure: str) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not done():
            if self._services is not None and self._services.poll() is not None:
                raise self._refusal(f"the services ended with exit code {self._services.returncode}")
            if time.monotonic() > deadline:
                raise self._refusal(failure)
            time.sleep(0.02)

    def _show_lines(self, lines: list[str]) -> None:
        for line in lines:
            self._write_line(f"   | {line}")

    def _refusal(self, failure: str) -> EqmailError:
        return EqmailError(f"{failure}; the log ended with: {' / '.join(self._log[-3:]) or 'nothing'}")


@contextmanager
def interrupted_by_term() -> Iterator[None]:
    """TERM and HUP end the block as an interruption does, so that nothing of a demonstration goes on running."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def free_port(first: int) -> int:
    """The first free TCP port of this host from `first` on."""
    for port in range(first, first + 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise EqmailError(f"no free port from {first} to {first + 199}")


def remove_old_demo(home: str, mark: str) -> None:
    """Remove what an earlier demonstration left, and nothing else.

    Fails: Refusal when the folder holds something that no demonstration made.
    """
    if not os.path.lexists(home):
        return
    if os.path.islink(home) or not os.path.exists(f"{home}/{mark}"):
        raise EqmailError(f"{home}: was not made by eqmail demo; choose another folder")
    shutil.rmtree(home)


def _answers(port: int) -> bool:
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=TIMEOUT_S):
            return True
    except (OSError, smtplib.SMTPException):
        return False


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines()
