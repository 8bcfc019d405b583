"""A shared queue at work: a private PostgreSQL and two nodes below one folder; one is killed, its mail goes on.

Everything runs as the caller, except PostgreSQL where that is root (`private_database`).

Fails: EqmailError where PostgreSQL is missing or something that should happen does not, with the end of a log.
"""

import os
import signal
import smtplib
import subprocess
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

from eqmail_core.site.site import Site
from eqmail_setup.demo import FIRST_PORT, HOST, free_port
from eqmail_setup.errors import EqmailError
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.manifest import installation_manifest
from eqmail_setup.private_database import PrivateDatabase
from eqmail_setup.queue.nodes import cluster_status, create_tables
from eqmail_setup.settings.classic_steps import run_steps
from eqmail_setup.settings.initial import plan_initial_settings
from eqmail_setup.templating import render
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
from eqmail_setup.transaction.plan import apply_changes, compare_with_manifest

NODES = ("ann", "bob")
MESSAGES = 5
START_S = 60.0
MOVE_S = 60.0
"""Longest wait for the mail of the killed node; its lease is over after 10 seconds."""

_GATE = "|test -e {gate} || exec sleep 600; exec cat >/dev/null\n{maildir}/\n"
"""Delivers to a Maildir once a file is there, and is busy until the node is killed before that."""

_EXPLAINED = """
1. {count} messages to node {first}; each stays in delivery there, because a program in .qmail waits
"""

WriteLine = Callable[[str], None]


class DemoNode:
    """A node of the demonstration, a single-user installation; its log is a file."""

    def __init__(self, folder: Path, name: str, database: str) -> None:
        self.name = name
        self.site = Site(home=str(folder / name), single_user=True, queue_database=database)
        self.port = 0
        self._log = folder / f"{name}.log"
        self._environ = {"PATH": f"{self.site.bin}:/usr/bin:/bin", "EQMAIL_HOME": self.site.home, "LC_ALL": "C"}
        self._services: subprocess.Popen[bytes] | None = None

    def make(self, maildir: Path, gate: Path) -> None:
        """Set it up; mail for ann goes to `maildir`, once the file `gate` is there."""
        os.makedirs(self.site.home)
        filesystem = DiskFilesystem(self.site.home)
        wanted = installation_manifest(self.site, caller())
        apply_changes(compare_with_manifest(wanted, filesystem), filesystem, lambda action: None)
        run_steps(
            self.site, "config-fast", lambda world: plan_initial_settings(self.site, HOST, world), lambda line: None
        )
        Path(self.site.home, "control/queuenode").write_text(f"{self.name}\n")
        ann = Path(self.site.home, "people/ann")
        ann.mkdir(parents=True)
        (ann / ".qmail").write_text(_GATE.format(gate=gate, maildir=maildir))
        values = {
            "user": caller()[0],
            "uid": os.getuid(),
            "gid": os.getgid(),
            "ann": ann,
            "alias": self.site.alias,
            "delimiter": self.site.break_char.decode(),
        }
        Path(self.site.users, "assign").write_bytes(render("demo/assign.j2", **values))
        subprocess.run([f"{self.site.bin}/qmail-newu"], env=self._environ, check=True)

    def start(self) -> None:
        """Start the services, and wait until they take mail."""
        self.port = free_port(FIRST_PORT)
        command = [f"{self.site.bin}/qmail-start", "--smtp", f"127.0.0.1:{self.port}", "./Maildir/"]
        with open(self._log, "ab") as log:
            self._services = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environ, start_new_session=True
            )
        wait(self.is_serving, START_S, f"node {self.name} does not answer", self)

    def is_serving(self) -> bool:
        """Whether it greets, and has a lease."""
        try:
            with smtplib.SMTP("127.0.0.1", self.port, timeout=START_S):
                pass
        except (OSError, smtplib.SMTPException):
            return False
        return any(node.name == self.name and node.is_live for node in cluster_status(self.site).nodes)

    def send(self, subject: str) -> str:
        """Send ann a message over SMTP; return the reply."""
        text = f"From: nina@elsewhere.example\nTo: ann@{HOST}\nDate: {formatdate()}\nSubject: {subject}\n\nHello.\n"
        with smtplib.SMTP("127.0.0.1", self.port, "elsewhere.example", timeout=START_S) as client:
            client.ehlo_or_helo_if_needed()
            client.mail("nina@elsewhere.example")
            client.rcpt(f"ann@{HOST}")
            code, answer = client.data(text.replace("\n", "\r\n"))
        if code != 250:
            raise EqmailError(f"node {self.name} refused a message: {code} {answer.decode(errors='replace')}")
        return f"{code} {answer.decode(errors='replace')}"

    def kill(self) -> int:
        """Kill everything of it, as if its machine were gone; return how many processes that were."""
        if self._services is None:
            return 0
        killed = set()
        while pids := below(self._services.pid):
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                killed.add(pid)
        self._services.wait()
        self._services = None
        return len(killed)

    def stop(self) -> None:
        """Stop the services, if they run."""
        if self._services is None:
            return
        self._services.terminate()
        try:
            self._services.wait(START_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise EqmailError(f"node {self.name} did not stop on TERM") from None
        self._services = None

    def log(self) -> list[str]:
        """The lines of its log."""
        return self._log.read_text(errors="replace").splitlines() if self._log.exists() else []


def below(pid: int) -> list[int]:
    """A process and all that descend from it, as far as they run."""
    parents = dict(_linux_parents() if os.path.exists("/proc/self/stat") else _parents())
    found = [pid] if pid in parents else []
    level = {pid}
    while level := {child for child, parent in parents.items() if parent in level}:
        found += level
    return found


def _linux_parents() -> Iterator[tuple[int, int]]:
    """Each running process and its parent.  Source: proc(5)."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if words[0] != "Z":
            yield int(name), int(words[1])


def _parents() -> Iterator[tuple[int, int]]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    for pid, parent, state in map(str.split, listed.splitlines()):
        if not state.startswith("Z"):
            yield int(pid), int(parent)


def wait(condition: Callable[[], bool], seconds: float, failure: str, node: DemoNode) -> float:
    """Wait until a condition holds; return how long that took.  Fails: EqmailError, with the end of the node's log."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() > began + seconds:
            raise EqmailError(f"{failure}; its log ended with: {' / '.join(node.log()[-3:]) or 'nothing'}")
        time.sleep(0.1)
    return time.monotonic() - began


class ClusterDemo:
    """The steps of the demonstration below `folder`, each reported through `write_line`."""

    def __init__(self, folder: Path, write_line: WriteLine) -> None:
        self._write_line = write_line
        self._gate = folder / "open"
        self._maildir = folder / "people/ann/Maildir"
        self._database = PrivateDatabase(folder / "pg")
        self._nodes = [DemoNode(folder, name, self._database.conninfo) for name in NODES]

    def prepare(self) -> None:
        """Make and start the database and both nodes."""
        self._write_line(f"Starting a private PostgreSQL in {self._database.folder}")
        self._database.start()
        for part in ("tmp", "new", "cur"):
            (self._maildir / part).mkdir(parents=True)
        self._write_line(f"Setting up the nodes {' and '.join(NODES)} on postgresql:{self._database.conninfo}")
        for node in self._nodes:
            node.make(self._maildir, self._gate)
        create_tables(self._nodes[0].site)
        for node in self._nodes:
            node.start()
            self._write_line(f"   node {node.name} takes mail at 127.0.0.1:{node.port}")

    def show(self) -> None:
        """Send mail to the first node, kill it, and wait until the other one has delivered all of it."""
        first, other = self._nodes
        self._write_line(_EXPLAINED.format(count=MESSAGES, first=first.name).rstrip())
        for number in range(1, MESSAGES + 1):
            self._write_line(f"   answer: {first.send(f'message {number}')}")
        wait(lambda: self._owned_by(first) == MESSAGES, START_S, "the messages are not in the database", first)
        self._show_status()
        self._write_line(f"\n2. Node {first.name} is killed: {first.kill()} processes, without a warning")
        self._gate.touch()
        took_s = wait(
            lambda: len(self._delivered()) == MESSAGES, MOVE_S, f"node {other.name} does not take the mail over", other
        )
        for line in other.log():
            if "is gone" in line or "starting delivery" in line:
                self._write_line(f"   log of {other.name}: {line}")
        self._write_line(
            f"\n3. {took_s:.0f} seconds later all {MESSAGES} messages are delivered, by node {other.name}:"
        )
        for path in self._delivered():
            subject = next(line for line in path.read_text().splitlines() if line.startswith("Subject: "))
            self._write_line(f"   {path.name}: {subject}")
        wait(lambda: cluster_status(other.site).waiting == self._owned_by(other) == 0, START_S, "mail is left", other)
        self._show_status()

    def stop(self) -> None:
        """Stop everything that runs."""
        try:
            for node in self._nodes:
                node.stop()
        finally:
            self._database.stop()

    def _owned_by(self, node: DemoNode) -> int:
        return sum(it.messages for it in cluster_status(node.site).nodes if it.name == node.name)

    def _delivered(self) -> list[Path]:
        return sorted((self._maildir / "new").iterdir())

    def _show_status(self) -> None:
        status = cluster_status(self._nodes[0].site)
        for node in status.nodes:
            state = "active" if node.is_live else "down"
            self._write_line(f"   eqmail cluster status: {node.name} {state}, {node.messages} messages")
