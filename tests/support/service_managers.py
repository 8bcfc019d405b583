"""What every test of a service manager does: generate, install, greet, send a message, see it delivered, look round."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.mail_system import free_port, messages, until
from tests.support.requirements import demand_namespaces, demand_programs

RECIPIENT = "ann@mail.example.org"
TIMEOUT_S = 60.0


def demand(*programs: str) -> None:
    """Skip a test that needs programs, or namespaces to unshare, where there are none."""
    demand_programs(*programs)
    if "unshare" in programs:
        demand_namespaces("mount")


class ManagedInstallation:
    """One installation, a port, and a scratch folder for service files."""

    def __init__(self, home: Path, folder: Path, eqmail: Callable[..., subprocess.CompletedProcess[str]]) -> None:
        self.home = home
        self.folder = folder
        self.port = free_port()
        self.maildir = home / "people/ann/Maildir"
        self._eqmail = eqmail
        self._started: list[subprocess.Popen[bytes]] = []
        self._sent = 0

    def generate(self, kind: str, *words: str, **settings: object) -> None:
        """Install service files twice: the second time there must be nothing to do.

        What other tests chose for the same home is forgotten.
        """
        pairs = {"folder": self.folder / kind, **settings}
        options = [word for key, value in pairs.items() for word in ("--set", f"{key}={value}")]
        command = ("--home", self.home, f"gen-{kind}", *words, "--install", "--forget", "--yes", *options)
        first = self._eqmail(*command)
        assert first.returncode == 0, first.stderr
        second = self._eqmail(*command)
        assert second.stdout.startswith("No changes needed.\n"), second.stdout + second.stderr

    def start(self, *command: str | Path, **environ: str) -> "subprocess.Popen[bytes]":
        """Start a service manager, as boot would: without a terminal and with little environment."""
        with open(self.folder / "manager.log", "ab") as log:
            process = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **environ},
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def run(self, *command: str | Path, code: int = 0) -> str:
        """Run a command to its end, with the required exit code; its output."""
        ended = subprocess.run(
            list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120
        )
        assert ended.returncode == code, f"{command}: {ended.returncode}: {ended.stdout}{ended.stderr}{self.logs()}"
        return ended.stdout + ended.stderr

    def greeting(self) -> str:
        """The greeting at the port; "" while there is none."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as sock:
                sock.settimeout(60)
                return sock.recv(200).decode()
        except OSError:
            return ""

    def demand_greeting(self) -> None:
        until(lambda: self.greeting().startswith("220 mail.example.org"), f"a greeting{self.logs()}", TIMEOUT_S)

    def demand_delivery(self) -> str:
        """Send one message with swaks and wait for it; its text."""
        return self.demand_arrival(self.hand_in())

    def hand_in(self) -> str:
        """Have one message accepted, from swaks; its mark."""
        self._sent += 1
        mark = f"message {self._sent} of {self.folder} at {time.monotonic_ns()}"
        self.run(
            *("swaks", "--server", f"127.0.0.1:{self.port}", "--from", "bob@example.net", "--to", RECIPIENT),
            *("--header", f"Subject: {mark}", "--body", mark, "--helo", "client.example.net"),
        )
        return mark

    def demand_arrival(self, mark: str) -> str:
        """Wait for the message with this mark; its text."""
        until(lambda: self._with(mark), f"delivery of {mark}{self.logs()}", TIMEOUT_S)
        (text,) = self._with(mark)
        return text

    def demand_silence(self) -> None:
        """Wait until the port is closed and no process of ours is left."""
        until(lambda: not self.greeting(), "an end of the service", TIMEOUT_S)
        until(lambda: not self.processes(), f"an end of {self.processes()}", TIMEOUT_S)

    def accounts(self) -> dict[str, str]:
        """The name of every process of the installation, with its user; of services their title up to the colon.

        A program that is no service has a blank and `program` behind its name.
        """
        found = {}
        for pid, line in self.processes().items():
            try:
                name = Path(f"/proc/{pid}/comm").read_text().strip()
                is_program = name.startswith("qmail-smtpd") and not line.startswith(f"{name}: ")
                found[f"{name} program" if is_program else name] = Path(f"/proc/{pid}").owner()
            except OSError:
                continue
        return found

    def service_pid(self, name: str) -> int:
        """The only process of a resident service."""
        (pid,) = [pid for pid, line in self.processes().items() if line.startswith(f"{name}: ")]
        return pid

    def demand_services(self) -> None:
        """All services of the MTA run."""
        until(lambda: {"qmail-clean", "qmail-send"} <= set(self.accounts()), f"the services{self.logs()}", TIMEOUT_S)

    def processes(self) -> dict[int, str]:
        """Every process that has to do with the home or the scratch folder, but us and our parents."""
        found: dict[int, str] = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            try:
                line = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            # The title of a service ends with the home.
            if re.search(rf"{re.escape(str(self.home))}(/|\s|$)", line) or f"{self.folder}/" in line:
                found[int(entry)] = line
        return found

    def logs(self) -> str:
        """What was logged so far, for the report of a failure."""
        paths = [path for path in self.folder.rglob("*") if path.name in ("current", "manager.log")]
        return "".join(f"\n{path}:\n{path.read_text(errors='replace')[-1500:]}" for path in paths)

    def end_all(self) -> None:
        """After a failure: end what is left."""
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait()

    def inbox(self) -> list[str]:
        """All messages that were delivered."""
        return messages(self.maildir)

    def _with(self, mark: str) -> list[str]:
        return [text for text in self.inbox() if f"Subject: {mark}\n" in text]
