"""The resident spawner, played by the scheduler's side: real processes, a private installation."""

import fcntl
import os
import pwd
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eqmail_core.protocols import delivery_wire as wire
from eqmail_core.services.local import spawner
from eqmail_core.services.local.group import MaildirDesk
from eqmail_core.store.cdb import write_cdb
from eqmail_core.system.sockets import connect_to, listen_at, receive_packet, send_packet
from eqmail_core.values.site import Site

JOE = 54321
SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK


def memfd(text: bytes, seals: int = SEALS) -> int:
    fd = os.memfd_create("message", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.write(fd, text)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


class Scheduler:
    """Gives orders and keeps what comes back: final reports by serial, and which of them are durable."""

    def __init__(self, path: str) -> None:
        self.sock = connect_to(path, 20.0)
        self.reports: dict[int, tuple[bytes, bytes]] = {}
        self.durable: set[int] = set()

    def order(self, serial: int, recipient: bytes, fd: int | None = None, name: bytes = b"") -> None:
        own = memfd(b"Subject: x\n\nbody\n") if fd is None else fd
        send_packet(self.sock, wire.order(wire.Order(serial, 1, name, b"s@x", recipient)), own)
        if fd is None:
            os.close(own)

    def receive(self) -> bytes:
        packet, _ = receive_packet(self.sock)
        if packet[:1] == wire.REPORT:
            serial, durable, letter, text = wire.split_report(packet)
            assert serial not in self.reports
            self.reports[serial] = (letter, text)
            if durable:
                self.durable.add(serial)
        elif packet:
            self.durable.update(wire.split_durable(packet))
        return packet

    def settle(self, count: int) -> None:
        """Wait until `count` reports have come and are durable."""
        while len(self.durable) < count:
            assert self.receive(), "the spawner has gone"

    def ask(self, recipient: bytes, fd: int | None = None) -> tuple[bytes, bytes]:
        serial = len(self.reports) + 1
        self.order(serial, recipient, fd)
        self.settle(serial)
        return self.reports[serial]


class Service:
    """A spawner in a process of its own."""

    def __init__(self, home: Path, single_user: bool = True) -> None:
        self.site = Site(home=str(home), single_user=single_user)
        self.alias = home / "alias"
        self.path = str(home / "run/local.sock")
        listener = listen_at(self.path, 0o600)
        asked_at = listen_at(self.site.socket("lookup"), 0o600)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                spawner.run(self.site, b"./Maildir/", listener, asked_at)
            finally:
                os._exit(0)
        listener.close()
        asked_at.close()

    def children(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def end(self) -> int:
        """Tell it to end, and wait; its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def kill(self) -> None:
        """Make sure that it has ended."""
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    for name in ("run", "users", "alias/Maildir/tmp", "alias/Maildir/new", "alias/Maildir/cur"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "alias").chmod(0o755)
    (tmp_path / "alias/.qmail-default").write_text("./Maildir/\n")
    running = Service(tmp_path)
    yield running
    running.kill()


@pytest.fixture
def scheduler(service: Service) -> Iterator[Scheduler]:
    playing = Scheduler(service.path)
    yield playing
    playing.sock.close()


def new(service: Service) -> list[Path]:
    return sorted((service.alias / "Maildir/new").iterdir())


def test_many_orders_are_delivered_and_become_durable(service: Service, scheduler: Scheduler) -> None:
    for serial in range(1, 201):
        scheduler.order(serial, b"box@h", name=b"7.X%d" % serial)
    scheduler.settle(200)
    assert set(scheduler.reports.values()) == {(b"K", b"did 1+0+0\n")}
    assert len(new(service)) == 200
    assert new(service)[0].read_bytes() == b"Return-Path: <s@x>\nDelivered-To: box@h\nSubject: x\n\nbody\n"
    assert len(service.children()) == 1


def test_slow_programs_hold_up_nobody(service: Service, scheduler: Scheduler) -> None:
    (service.alias / ".qmail-slow").write_text("|while ! test -e go; do sleep 0.05; done; cat; echo err >&2\n")
    scheduler.order(1, b"slow@h")
    scheduler.order(2, b"box@h")
    scheduler.settle(1)
    assert list(scheduler.reports) == [2]
    (service.alias / "go").touch()
    scheduler.settle(2)
    letter, text = scheduler.reports[1]
    assert letter == b"K" and text == b"Subject: x\n\nbody\nerr\ndid 0+0+1\n"


def test_programs_share_a_message_without_disturbing_each_other(service: Service, scheduler: Scheduler) -> None:
    (service.alias / ".qmail-cat").write_text("|read line; sleep 0.05; cat\n")
    fd = memfd(b"Subject: x\n\nbody\n")
    for serial in (1, 2, 3):
        scheduler.order(serial, b"cat@h", fd)
    os.close(fd)
    scheduler.settle(3)
    assert set(scheduler.reports.values()) == {(b"K", b"\nbody\ndid 0+0+1\n")}


@pytest.mark.parametrize(
    ("line", "letter", "text"),
    [
        ("|echo no; exit 100", b"D", b"no\n"),
        ("|exit 111", b"Z", b""),
        ("./Mailbox/none", b"Z", b"Unable to open ./Mailbox/none: file does not exist. (#4.2.1)\n"),
        ("|kill -9 $PPID", b"Z", b"qmail-local crashed.\n"),
        ("|head -c 5000 /dev/zero | tr '\\0' x", b"K", b"x" * 3000 + b"\nError report too long, sorry.\n"),
    ],
)
def test_reports_are_those_of_lspawn(
    service: Service, scheduler: Scheduler, line: str, letter: bytes, text: bytes
) -> None:
    (service.alias / ".qmail-it").write_text(line + "\n")
    assert scheduler.ask(b"it@h") == (letter, text)


def test_a_message_that_could_change_is_refused(scheduler: Scheduler, tmp_path: Path) -> None:
    unsealed = memfd(b"x", fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK)
    reading, writing = os.pipe()
    (tmp_path / "mess").write_bytes(b"Subject: file\n\n")
    queued = os.open(tmp_path / "mess", os.O_RDONLY)
    assert scheduler.ask(b"box@h", unsealed) == (b"Z", b"Sorry, message has wrong type. (#4.3.5)\n")
    assert scheduler.ask(b"box@h", reading) == (b"Z", b"Sorry, message has wrong type. (#4.3.5)\n")
    assert scheduler.ask(b"box@h", queued) == (b"K", b"did 1+0+0\n")
    for fd in (unsealed, reading, writing, queued):
        os.close(fd)


def test_addresses_without_host_or_box(service: Service, scheduler: Scheduler) -> None:
    assert scheduler.ask(b"box") == (b"D", b"Sorry, address must include host name. (#5.1.3)\n")
    assert scheduler.ask(b"@h") == (b"K", b"")
    assert not new(service)


def test_a_damaged_database_defers(service: Service, scheduler: Scheduler) -> None:
    Path(service.site.users, "cdb").write_bytes(b"short")
    assert scheduler.ask(b"box@h") == (b"Z", b"Trouble reading users/cdb in qmail-lspawn.\n")


def test_an_agent_that_dies_loses_nothing(service: Service, scheduler: Scheduler) -> None:
    (service.alias / ".qmail-slow").write_text("|touch begun; sleep 60\n")
    scheduler.order(1, b"slow@h")
    deadline = time.monotonic() + 20
    while not (service.alias / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (agent,) = service.children()
    os.kill(agent, signal.SIGKILL)
    scheduler.settle(1)
    assert scheduler.reports[1] == (b"Z", b"qmail-local crashed.\n")
    assert scheduler.ask(b"box@h") == (b"K", b"did 1+0+0\n")


def test_agents_cannot_be_traced_and_hold_no_foreign_descriptors(service: Service, scheduler: Scheduler) -> None:
    scheduler.ask(b"box@h")
    (agent,) = service.children()
    if os.getuid() == 0:
        held = {int(fd) for fd in os.listdir(f"/proc/{agent}/fd")}
        assert held == {0, 1, 2, 3}
    else:
        with pytest.raises(PermissionError):
            os.listdir(f"/proc/{agent}/fd")


def test_term_waits_for_what_was_taken(service: Service, scheduler: Scheduler) -> None:
    (service.alias / ".qmail-slow").write_text("|touch begun; while ! test -e go; do sleep 0.02; done\n")
    scheduler.order(1, b"slow@h")
    deadline = time.monotonic() + 20
    while not (service.alias / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(service.pid, signal.SIGTERM)
    (service.alias / "go").touch()
    scheduler.settle(1)
    assert scheduler.reports[1][0] == b"K"
    assert os.waitstatus_to_exitcode(os.waitpid(service.pid, 0)[1]) == 0


def test_a_scheduler_that_comes_back_is_served(service: Service, scheduler: Scheduler) -> None:
    scheduler.order(1, b"box@h")
    scheduler.sock.close()
    again = Scheduler(service.path)
    assert again.ask(b"box@h") == (b"K", b"did 1+0+0\n")
    again.sock.close()


def test_nonsense_ends_the_connection(service: Service, scheduler: Scheduler) -> None:
    scheduler.sock.send(b"nonsense")
    assert scheduler.receive() == b""
    again = Scheduler(service.path)
    assert again.ask(b"box@h") == (b"K", b"did 1+0+0\n")
    again.sock.close()


def test_what_a_dead_agent_delivered_is_made_durable_for_it(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(MaildirDesk, "settle", lambda desk: os._exit(1))
    service.end()
    other = Service(tmp_path)
    request.addfinalizer(other.kill)
    playing = Scheduler(other.path)
    playing.order(1, b"box@h")
    playing.receive()
    assert playing.reports == {1: (b"K", b"did 1+0+0\n")} and not playing.durable
    playing.settle(1)
    playing.sock.close()
    assert other.end() == 0


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Service]:
    """A spawner that is root and serves real users; joe is one of the database."""
    home = Path(tempfile.mkdtemp(prefix="eqmail-spawner-", dir="/tmp"))
    home.chmod(0o755)
    for name in ("run", "users", "joe/Maildir/tmp", "joe/Maildir/new"):
        (home / name).mkdir(parents=True)
    for path in (home / "joe", *(home / "joe").rglob("*")):
        os.chown(path, JOE, JOE)
    (home / "joe").chmod(0o755)
    entries = [b"", b"joe\0%d\0%d\0%b/joe\0\0" % (JOE, JOE, os.fsencode(home)), b"root\0000\0000\0/\0\0"]
    write_cdb(
        str(home / "users/cdb"), str(home / "users/cdb.tmp"), zip([b"", b"!joe\0", b"!root\0"], entries, strict=True)
    )
    running = Service(home, single_user=False)
    yield running
    running.kill()
    shutil.rmtree(home)


def queue_memfd() -> int:
    fd = memfd(b"Subject: x\n\nbody\n")
    os.fchown(fd, pwd.getpwnam("qmailq").pw_uid, -1)
    return fd


@pytest.mark.root
def test_deliveries_run_as_the_user_alone(real: Service) -> None:
    playing = Scheduler(real.path)
    assert playing.ask(b"joe@h", queue_memfd()) == (b"K", b"did 1+0+0\n")
    joe = Path(real.site.home, "joe")
    (copy,) = (joe / "Maildir/new").iterdir()
    assert (copy.stat().st_uid, copy.stat().st_gid) == (JOE, JOE)
    (joe / ".qmail").write_text("|id -u; id -G; ls /proc/self/fd; cat\n")
    letter, text = playing.ask(b"joe@h", queue_memfd())
    assert letter == b"K" and text.split()[:6] == [b"%d" % JOE] * 2 + [b"0", b"1", b"2", b"3"]
    assert text.endswith(b"\nSubject: x\n\nbody\ndid 0+0+1\n")
    playing.sock.close()


@pytest.mark.root
def test_nothing_is_delivered_as_root_nor_from_strangers(real: Service) -> None:
    playing = Scheduler(real.path)
    assert playing.ask(b"root@h", queue_memfd()) == (b"Z", b"Not allowed to perform deliveries as root.\n")
    assert playing.ask(b"joe@h") == (b"Z", b"Sorry, message has wrong owner. (#4.3.5)\n")
    playing.sock.close()


@pytest.mark.root
def test_accounts_are_looked_up_by_a_process_without_rights(real: Service) -> None:
    playing = Scheduler(real.path)
    for serial in range(1, 21):
        playing.order(serial, b"nobody-has-this-name-%d@h" % (serial % 3), queue_memfd())
    playing.settle(20)
    assert b"ZUnable to find alias user!\n" not in [b"".join(report) for report in playing.reports.values()]
    names = {Path(f"/proc/{pid}/comm").read_text().strip(): pid for pid in real.children()}
    assert Path(f"/proc/{names['eq-getpw']}").stat().st_uid in (0, pwd.getpwnam("qmailp").pw_uid)
    status = Path(f"/proc/{names['eq-getpw']}/status").read_text()
    assert f"Uid:\t{pwd.getpwnam('qmailp').pw_uid}\t" in status
    playing.sock.close()
