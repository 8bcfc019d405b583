"""An installation with real accounts and one user, whose services are started, watched, killed and stopped."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, NamedTuple
from weakref import WeakSet

from tests.conftest import eqmail
from tests.reliability.checker import BOUNCES, MAILDIRS, MBOX
from tests.reliability.load import ME, REMOTE, USER
from tests.support.mail_system import free_port, make_maildir

UID = 22002
"""Ids of the user, who has no account: the entry is in users/assign."""

START_S = STOP_S = 120.0
KILL_S = 60.0
"""How long a killed process may take to end: one that waits for a disk ends when the disk has answered."""

COMMAND_S = 300.0
"""How long any command may take."""
MARK = "EQMAIL_RELIABILITY"
KEEP = "EQMAIL_KEEP"
"""The variable that keeps homes, logs and images of a run."""

# The address of the user, and its .qmail file.  The program flushes what it files, as deliveries do.
PROGRAM = 'f=$(mktemp -p Prog/tmp) && cat >"$f" && sync "$f" && mv "$f" Prog/new/ && sync Prog/new'
DOT_QMAIL = {
    "": "./Maildir/",
    "-two": "./Maildir/\n./Two/",
    "-prog": f"|{PROGRAM} || exit 111",
    "-fwd": f"&{USER}-box@{ME}",
    "-box": "./Fwd/",
    "-mbox": f"./{MBOX}",
    "-bounces": "./Bounces/",
    "-double": "./Double/",
}


class Failed(Exception):
    """The installation could not be made or brought into the state that a part needs; the output of the commands."""


class Session(NamedTuple):
    """A session of the kernel, identified by the start time of its leader too, because numbers are reused."""

    leader: int
    started: int


class NodePlace(NamedTuple):
    """Where services run: the address of their listener, that of the sink, and what begins a command there."""

    address: str = "127.0.0.1"
    sink: str = "127.0.0.1"
    enter: tuple[str, ...] = ()


LOOPBACK = NodePlace()


class Installation:
    """The services of `folder`/home; mail of the user is below `folder`/people."""

    all: ClassVar["WeakSet[Installation]"] = WeakSet()
    """Those of this process."""

    is_over: ClassVar[bool] = False
    """Whether nothing is started any more, because this process ends."""

    def __init__(self, folder: Path, sink_port: int, place: NodePlace = LOOPBACK) -> None:
        self.place = place
        self.home = folder / "home"
        self.people = folder / "people" / USER
        self.port = free_port()
        self.sink_port = sink_port
        self.log_path = folder.parent / f"{folder.name}.log"
        self.environ: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self._mark = f"{os.getpid()}.{folder.name}"
        self._sessions: list[Session] = []
        Installation.all.add(self)

    def make(self, **controls: str) -> "Installation":
        """Set it up; `controls` are further control files."""
        for words in (("mkusers",), ("--home", self.home, "setup"), ("--home", self.home, "config-fast", ME)):
            done = eqmail(*words, timeout=COMMAND_S)
            if done.returncode:
                raise Failed(f"eqmail {' '.join(map(str, words))}: {done.stdout}{done.stderr}")
        for box in (*MAILDIRS, *BOUNCES):
            make_maildir(self.people / box)
        for extension, text in DOT_QMAIL.items():
            (self.people / f".qmail{extension}").write_text(f"{text}\n")
        for path in (self.people, *self.people.rglob("*")):
            os.chown(path, UID, UID)
        assign = self.home / "users/assign"
        assign.write_text(
            f"={USER}:{USER}:{UID}:{UID}:{self.people}:::\n+{USER}-:{USER}:{UID}:{UID}:{self.people}:-::\n.\n"
        )
        subprocess.run([self.home / "bin/qmail-newu"], check=True, timeout=COMMAND_S)
        controls = {
            "smtproutes": f":{self.place.sink}:{self.sink_port}",
            "doublebounceto": f"{USER}-double",
            "doublebouncehost": ME,
            "concurrencyremote": "20",
            "timeoutremote": "20",
        } | controls
        for name, text in controls.items():
            (self.home / "control" / name).write_text(f"{text}\n")
        with open(self.home / "control/rcpthosts", "a") as file:
            file.write(f".{REMOTE}\n")
        return self

    def begin(self) -> None:
        """Start the parent, without waiting for its services."""
        while Installation.is_over:
            time.sleep(1)
        listener = f"{self.place.address}:{self.port}"
        command = [*self.place.enter, str(self.home / "bin/qmail-start"), "--smtp", listener, "./Maildir/"]
        environ = {"PATH": f"{self.home}/bin:/usr/bin:/bin", MARK: self._mark} | self.environ
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ, cwd="/", start_new_session=True
            )
        if leader := read_stat(self.process.pid):
            self._sessions.append(Session(self.process.pid, leader.started))

    def answers(self, within_s: float = START_S) -> bool:
        """Wait until the SMTP service greets; False where the parent ends or time is over."""
        deadline = time.monotonic() + within_s
        while self.is_up and time.monotonic() < deadline:
            try:
                with socket.create_connection((self.place.address, self.port), 5) as sock:
                    sock.settimeout(10)
                    if sock.recv(100).startswith(b"220"):
                        return True
            except OSError:
                pass
            time.sleep(0.02)
        return False

    def start(self) -> None:
        """Start, and wait for the greeting.  Fails: Failed."""
        self.begin()
        if not self.answers():
            raise Failed("the services do not answer after a start:\n" + self.log()[-2000:])

    @property
    def is_up(self) -> bool:
        """Whether the parent runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """The parent's."""
        assert self.process is not None
        return self.process.pid

    def processes(self) -> dict[int, str]:
        """Every process of the installation, those of dead parents too: pid and name."""
        stats = {pid: it for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if (it := read_stat(pid))}
        used = {it.session for it in stats.values()}
        self._sessions = [
            session
            for session in self._sessions
            if session.leader in used
            and (session.leader not in stats or stats[session.leader].started == session.started)
        ]
        ours = {session.leader for session in self._sessions}
        return {
            pid: it.name
            for pid, it in stats.items()
            if it.state != "Z" and (it.session in ours or self._is_marked(pid))
        }

    def named(self, *names: str) -> list[int]:
        """The processes with one of these names."""
        return [pid for pid, name in self.processes().items() if name in names]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the parent, if it runs."""
        if self.is_up:
            os.kill(self.pid, number)

    def kill_all(self) -> int:
        """SIGKILL for everything, as often as something is left; how many processes that were.

        Fails: Failed, for processes that do not end.
        """
        count, deadline = 0, time.monotonic() + KILL_S
        while pids := self.processes():
            count += sum(kill(pid) for pid in pids)
            if self.process is not None and self.process.pid in pids:
                self.reap()
            if time.monotonic() > deadline:
                raise Failed(f"killed {KILL_S:g} s ago, and still there: {pids}")
            time.sleep(0.005)
        return count

    def reap(self) -> None:
        """Wait for the parent, which was killed.  Fails: Failed."""
        assert self.process is not None
        try:
            self.process.wait(KILL_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"the parent was killed {KILL_S:g} s ago, and is still there") from None

    def stop(self) -> int | None:
        """TERM to the parent; its exit code, or None where it does not end in time and everything is killed."""
        assert self.process is not None
        self.process.terminate()
        try:
            code: int | None = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            code = None
        deadline = time.monotonic() + 10
        while code is not None and self.processes() and time.monotonic() < deadline:
            time.sleep(0.02)
        if self.processes():
            code = None
        self.kill_all()
        return code

    def drain(self, within_s: float) -> bool:
        """Have waiting mail tried until nothing waits; False when time is over.

        Services that end are started again: a start fails where a service was killed before all served, even when the
        SMTP service had greeted by then.
        """
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if not self.is_up:
                self.begin()
                self.answers(deadline - time.monotonic())
            self.signal(signal.SIGALRM)
            time.sleep(0.7)
            if self.waiting() == 0:
                time.sleep(0.7)
                if self.waiting() == 0:
                    return True
        return False

    def waiting(self) -> int | None:
        """Messages with recipients left, in memory or on the disk; None where qmail-qstat does not answer."""
        command = [self.home / "bin/qmail-qstat"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMMAND_S)
        except subprocess.TimeoutExpired:
            return None
        counts = [int(words[-1]) for line in done.stdout.splitlines() if (words := line.split())[-1].isdigit()]
        known = self._numbers("info") | self._numbers("todo")
        return max(0, sum(counts) - len(self._numbers("mess") - known)) if counts else None

    def queued(self) -> str:
        """Waiting mail, from `eqmail queue list`, and the files of the queue."""
        try:
            done = eqmail("--home", self.home, "queue", "list", timeout=COMMAND_S)
            said = done.stdout + done.stderr
        except subprocess.TimeoutExpired:
            said = "no answer\n"
        queue = self.home / "queue"
        files = sorted(str(path.relative_to(queue)) for path in queue.rglob("*") if path.is_file())
        return said + " ".join(path for path in files if not path.startswith("pid/"))

    def _numbers(self, folder: str) -> set[str]:
        return {
            path.name for path in (self.home / "queue" / folder).rglob("*") if path.name.isdigit() and path.is_file()
        }

    def log(self, start: int = 0) -> str:
        """The log of the services from an offset on."""
        if not self.log_path.exists():
            return ""
        with open(self.log_path, "rb") as file:
            file.seek(start)
            return file.read().decode(errors="replace")

    def log_size(self) -> int:
        """Where the log ends now."""
        return self.log_path.stat().st_size if self.log_path.exists() else 0

    def empty_boxes(self) -> None:
        """Remove all mail of the user."""
        for box in (*MAILDIRS, *BOUNCES):
            for part in ("new", "cur", "tmp"):
                for path in (self.people / box / part).iterdir():
                    path.unlink()
        (self.people / MBOX).unlink(missing_ok=True)

    def _is_marked(self, pid: int) -> bool:
        try:
            return f"{MARK}={self._mark}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False


class Stat(NamedTuple):
    """The kernel's data on a process; `started`: in its ticks."""

    name: str
    state: str
    session: int
    started: int


def read_stat(pid: int) -> Stat | None:
    """Look at a process; None where it has gone.  Source: proc(5)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    name, rest = text[text.index("(") + 1 :].rsplit(")", 1)
    fields = rest.split()
    return Stat(name, fields[0], int(fields[3]), int(fields[19]))


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> bool:
    """Send a signal; False where the process has gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def workspace() -> Iterator[Path]:
    """A folder below /var/tmp that every account can reach; removed at the end, unless KEEP is set."""
    folder = Path(tempfile.mkdtemp(prefix="eqmail-reliability-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        if KEEP in os.environ:
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def installed(folder: Path, sink_port: int, place: NodePlace = LOOPBACK, **controls: str) -> Iterator[Installation]:
    """An installation in `folder`; at the end nothing of it runs any more."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    installation = Installation(folder, sink_port, place).make(**controls)
    try:
        yield installation
    finally:
        installation.kill_all()
