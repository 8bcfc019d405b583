"""The resident spawner, played by the scheduler's side: real processes, a private installation."""

import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eqmail_core.ipc import delivery_protocol as wire
from eqmail_core.ipc.packet_socket import connect_to, receive_packet, send_packet
from eqmail_core.local.service import dispatcher as workforce
from eqmail_core.outcome import NOT_DURABLE
from eqmail_core.site.site import Site
from eqmail_core.smtpd.server.blocking_recipient_lookup import look_up
from eqmail_core.system.cdb import write_cdb
from tests.support import spawner_process

JOE = 54321
SPAWNER, POOL, WORKER = (f"eqmail_core.local.service.{name}." for name in ("spawner", "worker_pool", "worker"))
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
        send_packet(self.sock, wire.order(wire.DeliveryRequest(serial, 1, name, b"s@x", recipient)), own)
        if fd is None:
            os.close(own)

    def receive(self) -> bytes:
        packet, _ = receive_packet(self.sock)
        if packet[:1] == wire.REPORT:
            serial, result = wire.split_report(packet)
            assert serial not in self.reports
            self.reports[serial] = (result.outcome, result.text)
            if result.disposition != NOT_DURABLE:
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


def _status(pid: int, field: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":", 1)[1] for line in lines if line.startswith(field))


class Service:
    """A spawner in a process of its own."""

    def __init__(self, home: Path, single_user: bool = True, **options: Any) -> None:
        self.site = Site(home=str(home), single_user=single_user)
        self.alias = home / "alias"
        self.path = str(home / "run/local.sock")
        self._process = spawner_process.start(self.site, **options)
        self.pid = self._process.pid

    def children(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def named(self) -> dict[str, int]:
        """Its children by name; of several with one name the last."""
        return {Path(f"/proc/{pid}/comm").read_text().strip(): pid for pid in self.children()}

    def uids(self) -> set[int]:
        """The real users of its children."""
        return {int(_status(pid, "Uid").split()[0]) for pid in self.children()}

    def end(self) -> int:
        """Send TERM and wait; its exit code."""
        self._process.terminate()
        return self._process.wait(60)

    def kill(self) -> None:
        """Make sure that it has ended."""
        self._process.kill()
        self._process.wait(60)


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
    stub_scheduler = Scheduler(service.path)
    yield stub_scheduler
    stub_scheduler.sock.close()


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


def test_programs_do_not_inherit_the_environment_of_the_starter(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.end()
    for name, value in {"SECRET": "x", "PATH": os.environ["PATH"], "TZ": "UTC", "LC_TIME": "C"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("QMAILINJECT", "f")
    monkeypatch.setenv("LD_PRELOAD_OF_STARTER", "x")
    (service.alias / ".qmail-env").write_text("|env | cut -d= -f1 | grep -v ^_ | sort | tr '\\n' ' '\n")
    other = Service(tmp_path)
    try:
        stub_scheduler = Scheduler(other.path)
        letter, text = stub_scheduler.ask(b"env@h")
        names = set(text.split(b"did")[0].decode().split())
        assert letter == b"K" and not names & {"SECRET", "LD_PRELOAD_OF_STARTER"}
        assert names >= {"PATH", "TZ", "LC_TIME", "QMAILINJECT", "EQMAIL_HOME", "SENDER", "HOME"}
        stub_scheduler.sock.close()
    finally:
        other.kill()


def test_slow_programs_delay_no_other_delivery(service: Service, scheduler: Scheduler) -> None:
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
    deadline = time.monotonic() + 60
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
    deadline = time.monotonic() + 60
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


def test_malformed_input_ends_the_connection(service: Service, scheduler: Scheduler) -> None:
    scheduler.sock.send(b"nonsense")
    assert scheduler.receive() == b""
    again = Scheduler(service.path)
    assert again.ask(b"box@h") == (b"K", b"did 1+0+0\n")
    again.sock.close()


def test_what_a_dead_agent_delivered_is_made_durable_for_it(
    service: Service, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    service.end()
    other = Service(tmp_path, dies_at_flush=True)
    request.addfinalizer(other.kill)
    stub_scheduler = Scheduler(other.path)
    stub_scheduler.order(1, b"box@h")
    stub_scheduler.receive()
    assert stub_scheduler.reports == {1: (b"K", b"did 1+0+0\n")} and not stub_scheduler.durable
    stub_scheduler.settle(1)
    stub_scheduler.sock.close()
    assert other.end() == 0


class RealUsers:
    """The home of a spawner that is root: joe, ann and bob have accounts of their own, in its database."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.chmod(0o755)
        entries = [b"", b"root\0000\0000\0/\0\0"]
        for number, name in enumerate(USERS):
            for folder in ("tmp", "new", "cur"):
                (home / name / "Maildir" / folder).mkdir(parents=True)
            for path in (home / name, *(home / name).rglob("*")):
                os.chown(path, JOE + number, JOE + number)
                path.chmod(0o700)
            uid = b"%d" % (JOE + number)
            entries.append(b"\0".join((name.encode(), uid, uid, os.fsencode(home / name), b"", b"")))
        for name in ("run", "users"):
            (home / name).mkdir()
        keys = [b"", b"!root\0", *(b"!%b\0" % name.encode() for name in USERS)]
        write_cdb(str(home / "users/cdb"), str(home / "users/cdb.tmp"), zip(keys, entries, strict=True))


USERS = ("joe", "ann", "bob")


@pytest.fixture
def homes() -> Iterator[RealUsers]:
    home = Path(tempfile.mkdtemp(prefix="eqmail-spawner-", dir="/tmp"))
    yield RealUsers(home)
    shutil.rmtree(home)


@pytest.fixture
def real(homes: RealUsers) -> Iterator[Service]:
    running = Service(homes.home, single_user=False)
    yield running
    running.kill()


def queue_memfd() -> int:
    fd = memfd(b"Subject: x\n\nbody\n")
    os.fchown(fd, pwd.getpwnam("qmailq").pw_uid, -1)
    return fd


@pytest.mark.root
def test_deliveries_run_as_the_user_alone(real: Service) -> None:
    stub_scheduler = Scheduler(real.path)
    assert stub_scheduler.ask(b"joe@h", queue_memfd()) == (b"K", b"did 1+0+0\n")
    joe = Path(real.site.home, "joe")
    (copy,) = (joe / "Maildir/new").iterdir()
    assert (copy.stat().st_uid, copy.stat().st_gid, copy.stat().st_mode & 0o777) == (JOE, JOE, 0o600)
    assert set(real.named()) == {"qmail-carrier"}
    (joe / ".qmail").write_text("|id -u; id -G; ls /proc/self/fd; cat\n")
    letter, text = stub_scheduler.ask(b"joe@h", queue_memfd())
    assert letter == b"K" and text.split()[:6] == [b"%d" % JOE] * 2 + [b"0", b"1", b"2", b"3"]
    assert text.endswith(b"\nSubject: x\n\nbody\ndid 0+0+1\n")
    stub_scheduler.sock.close()


@pytest.mark.root
def test_nothing_is_delivered_as_root_nor_for_foreign_uids(real: Service) -> None:
    stub_scheduler = Scheduler(real.path)
    assert stub_scheduler.ask(b"root@h", queue_memfd()) == (b"Z", b"Not allowed to perform deliveries as root.\n")
    assert stub_scheduler.ask(b"joe@h") == (b"Z", b"Sorry, message has wrong owner. (#4.3.5)\n")
    stub_scheduler.sock.close()


@pytest.mark.root
def test_accounts_are_looked_up_by_a_process_without_rights(real: Service) -> None:
    stub_scheduler = Scheduler(real.path)
    for serial in range(1, 21):
        stub_scheduler.order(serial, b"nobody-has-this-name-%d@h" % (serial % 3), queue_memfd())
    stub_scheduler.settle(20)
    assert b"ZUnable to find alias user!\n" not in [b"".join(report) for report in stub_scheduler.reports.values()]
    names = real.named()
    assert Path(f"/proc/{names['qmail-getpw']}").stat().st_uid in (0, pwd.getpwnam("qmailp").pw_uid)
    status = Path(f"/proc/{names['qmail-getpw']}/status").read_text()
    assert f"Uid:\t{pwd.getpwnam('qmailp').pw_uid}\t" in status
    stub_scheduler.sock.close()


@pytest.mark.root
def test_the_carrier_delivers_plain_mail_for_all_users_and_agents_the_rest(real: Service) -> None:
    stub_scheduler = Scheduler(real.path)
    bob = Path(real.site.home, "bob")
    (bob / ".qmail").write_text("|id -u\n")
    for serial, name in enumerate(USERS * 20, 1):
        stub_scheduler.order(serial, name.encode() + b"@h", queue_memfd(), b"7.X%d" % serial)
    stub_scheduler.settle(60)
    assert {text for _, text in stub_scheduler.reports.values()} == {b"did 1+0+0\n", b"%d\ndid 0+0+1\n" % (JOE + 2)}
    for number, name in enumerate(USERS[:2]):
        copies = list(Path(real.site.home, name, "Maildir/new").iterdir())
        assert len(copies) == 20 and {copy.stat().st_uid for copy in copies} == {JOE + number}
    assert set(real.named()) == {"qmail-carrier", "qmail-local"}
    stub_scheduler.sock.close()


@pytest.mark.root
def test_the_carrier_has_no_privilege_but_changing_users(real: Service) -> None:
    stub_scheduler = Scheduler(real.path)
    stub_scheduler.ask(b"joe@h", queue_memfd())
    carrier = real.named()["qmail-carrier"]
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{carrier}/status").read_text().splitlines())
    setgid_and_setuid = "00000000000000c0"
    assert [status[name] for name in ("CapPrm", "CapEff", "CapBnd")] == [setgid_and_setuid] * 3
    assert status["NoNewPrivs"] == "1"
    assert {int(fd) for fd in os.listdir(f"/proc/{carrier}/fd")} == {0, 1, 2, 3}
    assert os.readlink(f"/proc/{carrier}/cwd") == "/"
    for act in (f"ls /proc/{carrier}/fd", f"kill -0 {carrier}"):
        asked = subprocess.run(["sh", "-c", act], user=JOE, group=JOE, extra_groups=[], capture_output=True)
        assert asked.returncode != 0, act
    stub_scheduler.sock.close()


@pytest.mark.root
@pytest.mark.parametrize(
    ("trap", "text"),
    [
        ("home", b"Unable to switch to"),
        ("maildir", b"Unable to chdir to maildir"),
        ("new", b"Temporary error on maildir delivery"),
        ("dotqmail", b"Unable to open .qmail"),
    ],
)
def test_the_carrier_goes_only_where_the_user_may(homes: RealUsers, trap: str, text: bytes) -> None:
    joe, ann = homes.home / "joe", homes.home / "ann"
    if trap == "home":
        joe.rename(homes.home / "moved")
        joe.symlink_to("ann")
    elif trap == "maildir":
        (joe / "Maildir").rename(joe / "moved")
        (joe / "Maildir").symlink_to("../ann/Maildir")
    elif trap == "new":
        (joe / "Maildir/new").rmdir()
        (joe / "Maildir/new").symlink_to("../../ann/Maildir/new")
    else:
        (ann / "secret").write_text("./Maildir/\n")
        (ann / "secret").chmod(0o600)
        (joe / ".qmail").symlink_to("../ann/secret")
    service = Service(homes.home, single_user=False)
    try:
        stub_scheduler = Scheduler(service.path)
        letter, output = stub_scheduler.ask(b"joe@h", queue_memfd())
        assert letter == b"Z" and output.startswith(text)
        assert look_up(service.site.socket("lookup"), b"joe@h") == (b"K" if trap in ("maildir", "new") else b"Z")
        assert not list((ann / "Maildir/new").iterdir()) and not list((ann / "Maildir/tmp").iterdir())
        assert stub_scheduler.ask(b"ann@h", queue_memfd()) == (b"K", b"did 1+0+0\n")
        stub_scheduler.sock.close()
    finally:
        service.kill()


@pytest.mark.root
@pytest.mark.parametrize("how", ["killed", "silent"])
def test_mail_of_a_carrier_that_is_lost_goes_to_agents(homes: RealUsers, how: str) -> None:
    service = Service(homes.home, single_user=False, changes={SPAWNER + "_TICK_S": 0.05, POOL + "SILENCE_S": 0.3})
    try:
        stub_scheduler = Scheduler(service.path)
        (homes.home / "bob/.qmail").write_text("|true\n")
        assert stub_scheduler.ask(b"bob@h", queue_memfd()) == (b"K", b"did 0+0+1\n")
        carrier = service.named()["qmail-carrier"]
        os.kill(carrier, signal.SIGSTOP)
        for serial in range(2, 12):
            stub_scheduler.order(serial, b"ann@h", queue_memfd(), b"7.X%d" % serial)
        # Bob's agent answers; so the carrier has been given what came before.
        stub_scheduler.order(12, b"bob@h", queue_memfd())
        stub_scheduler.settle(2)
        if how == "killed":
            os.kill(carrier, signal.SIGKILL)
        assert look_up(service.site.socket("lookup"), b"ann@h") == b"K"
        stub_scheduler.settle(12)
        assert {letter for letter, _ in stub_scheduler.reports.values()} == {b"K"}
        assert len(list((homes.home / "ann/Maildir/new").iterdir())) == 10
        assert JOE + 1 in service.uids()
        (homes.home / "bob/.qmail").unlink()
        assert stub_scheduler.ask(b"joe@h", queue_memfd()) == (b"K", b"did 1+0+0\n")
        assert service.named()["qmail-carrier"] != carrier
        stub_scheduler.sock.close()
        assert service.end() == 0
    finally:
        service.kill()


@pytest.mark.root
def test_without_a_carrier_every_user_has_an_agent(homes: RealUsers) -> None:
    service = Service(homes.home, single_user=False, with_carrier=False)
    try:
        stub_scheduler = Scheduler(service.path)
        for serial, name in enumerate(USERS, 1):
            stub_scheduler.order(serial, name.encode() + b"@h", queue_memfd())
        stub_scheduler.settle(3)
        uids = {Path(f"/proc/{pid}/status").read_text().split("Uid:\t")[1].split()[0] for pid in service.children()}
        assert uids == {str(JOE + number) for number in range(3)}
        stub_scheduler.sock.close()
    finally:
        service.kill()


ENDLESS = {
    "dotqmail": lambda joe: os.truncate(joe / ".qmail", 12 << 30),
    "dotqmail of many lines": lambda joe: (joe / ".qmail").write_bytes(b"./Maildir/\n" * 80_000),
    "quota": lambda joe: (joe / "Maildir/maildirsize").symlink_to("/dev/zero"),
    "quota without end": lambda joe: os.truncate(joe / "Maildir/maildirsize", 12 << 30),
    "quota of nonsense": lambda joe: (joe / "Maildir/maildirsize").write_bytes(b"9S\n--5 1\n%b 1\n" % (b"9" * 5000)),
}


@pytest.mark.root
@pytest.mark.parametrize("attack", ENDLESS)
def test_endless_files_delay_and_kill_no_process(homes: RealUsers, real: Service, attack: str) -> None:
    joe = homes.home / "joe"
    for name in (".qmail", "Maildir/maildirsize"):
        if attack.startswith("quota") == name.startswith("Maildir") and attack != "quota":
            (joe / name).touch()
            os.chown(joe / name, JOE, JOE)
    stub_scheduler = Scheduler(real.path)
    assert stub_scheduler.ask(b"ann@h", queue_memfd()) == (b"K", b"did 1+0+0\n")
    carrier = real.named()["qmail-carrier"]
    before = int(_status(carrier, "VmHWM").split()[0])
    ENDLESS[attack](joe)
    assert look_up(real.site.socket("lookup"), b"joe@h") in (b"K", b"Z")
    if attack != "dotqmail of many lines":
        stub_scheduler.ask(b"joe@h", queue_memfd())
    assert stub_scheduler.ask(b"ann@h", queue_memfd()) == (b"K", b"did 1+0+0\n")
    assert real.named()["qmail-carrier"] == carrier
    assert int(_status(carrier, "VmHWM").split()[0]) < before + 4096
    stub_scheduler.sock.close()


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.root
def test_one_user_does_not_get_all_places(homes: RealUsers) -> None:
    joe = homes.home / "joe"
    (joe / ".qmail").write_text("|touch begun; while ! test -e go; do sleep 0.05; done\n")
    service = Service(
        homes.home, single_user=False, at_once=2, changes={SPAWNER + "_TICK_S": 0.05, WORKER + "WAIT_S": 0.2}
    )
    try:
        stub_scheduler = Scheduler(service.path)
        for serial in range(1, 7):
            stub_scheduler.order(serial, b"joe@h", queue_memfd())
        stub_scheduler.settle(4)
        assert set(stub_scheduler.reports.values()) == {(b"Z", workforce.NO_SLOT.text)}
        wait_for(joe / "begun")
        stub_scheduler.order(7, b"joe@h", queue_memfd())
        stub_scheduler.order(8, b"ann@h", queue_memfd())
        stub_scheduler.settle(6)
        assert stub_scheduler.reports[7] == (b"Z", workforce.NO_SLOT.text)
        assert stub_scheduler.reports[8] == (b"K", b"did 1+0+0\n")
        (joe / "go").touch()
        stub_scheduler.settle(8)
        assert [letter for letter, _ in stub_scheduler.reports.values()].count(b"K") == 3
        stub_scheduler.sock.close()
        assert service.end() == 0
    finally:
        service.kill()


@pytest.mark.root
def test_an_agent_that_its_user_stops_is_ended(homes: RealUsers) -> None:
    joe = homes.home / "joe"
    (joe / ".qmail").write_text("|touch begun; while ! test -e go; do sleep 0.05; done\n")
    service = Service(homes.home, single_user=False, changes={SPAWNER + "_TICK_S": 0.05, POOL + "AGENT_SILENCE_S": 2.0})
    try:
        stub_scheduler = Scheduler(service.path)
        stub_scheduler.order(1, b"joe@h", queue_memfd())
        wait_for(joe / "begun")
        os.kill(service.named()["qmail-local"], signal.SIGSTOP)
        stub_scheduler.order(2, b"joe@h", queue_memfd())
        stub_scheduler.settle(2)
        assert set(stub_scheduler.reports.values()) == {(b"Z", workforce.SILENT.text)}
        (joe / "go").touch()
        assert stub_scheduler.ask(b"joe@h", queue_memfd())[0] == b"K"
        stub_scheduler.sock.close()
        assert service.end() == 0
    finally:
        service.kill()


def test_an_agent_whose_program_takes_long_is_not_ended(tmp_path: Path) -> None:
    for name in ("run", "users", "alias"):
        (tmp_path / name).mkdir(mode=0o755)
    (tmp_path / "alias").chmod(0o755)
    (tmp_path / "alias/.qmail-default").write_text("|sleep 7\n")
    service = Service(tmp_path, changes={SPAWNER + "_TICK_S": 0.05, POOL + "AGENT_SILENCE_S": 5.0})
    try:
        stub_scheduler = Scheduler(service.path)
        assert stub_scheduler.ask(b"box@h") == (b"K", b"did 0+0+1\n")
        stub_scheduler.sock.close()
    finally:
        service.kill()


class NoForks:
    """The file that keeps the spawner from starting workers of some kinds as long as it is there."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def of(self, *names: str) -> None:
        self.sign.write_text(" ".join(names))


def descriptors(service: Service) -> int:
    return len(os.listdir(f"/proc/{service.pid}/fd"))


NO_FORK = (b"Z", workforce.NO_FORK.text)


@pytest.mark.root
def test_without_processes_mail_waits_and_nothing_is_left_open(homes: RealUsers) -> None:
    none = NoForks(homes.home / "none")
    service = Service(homes.home, single_user=False, no_forks=none.sign)
    try:
        stub_scheduler = Scheduler(service.path)
        assert stub_scheduler.ask(b"joe@h", queue_memfd())[0] == b"K"
        before = descriptors(service)
        os.kill(service.named()["qmail-carrier"], signal.SIGKILL)
        none.of("qmail-carrier", "qmail-local", "qmail-sync")
        deadline = time.monotonic() + 20
        while descriptors(service) == before:
            assert time.monotonic() < deadline
        assert stub_scheduler.ask(b"joe@h", queue_memfd()) == NO_FORK
        assert look_up(service.site.socket("lookup"), b"ann@h") == b"Z"
        assert descriptors(service) <= before
        none.of()
        assert stub_scheduler.ask(b"joe@h", queue_memfd())[0] == b"K"
        stub_scheduler.sock.close()
        assert service.end() == 0
    finally:
        service.kill()


@pytest.mark.root
@pytest.mark.parametrize("how", ["handed back", "lost"])
def test_mail_without_an_agent_waits(homes: RealUsers, how: str) -> None:
    none = NoForks(homes.home / "none")
    service = Service(homes.home, single_user=False, changes={SPAWNER + "_TICK_S": 0.05}, no_forks=none.sign)
    try:
        stub_scheduler = Scheduler(service.path)
        (homes.home / "bob/.qmail").write_text("|true\n")
        assert stub_scheduler.ask(b"joe@h", queue_memfd())[0] == b"K"
        carrier = service.named()["qmail-carrier"]
        if how == "handed back":
            none.of("qmail-local")
            before = descriptors(service)
            assert stub_scheduler.ask(b"bob@h", queue_memfd()) == NO_FORK
            assert service.named()["qmail-carrier"] == carrier and descriptors(service) == before
        else:
            assert stub_scheduler.ask(b"bob@h", queue_memfd())[0] == b"K"
            before = descriptors(service)
            os.kill(carrier, signal.SIGSTOP)
            stub_scheduler.order(3, b"ann@h", queue_memfd())
            # Bob's agent answers; so the carrier has been given what came before.
            stub_scheduler.order(4, b"bob@h", queue_memfd())
            stub_scheduler.settle(3)
            none.of("qmail-local")
            os.kill(carrier, signal.SIGKILL)
            stub_scheduler.settle(4)
            assert stub_scheduler.reports[3] == NO_FORK and descriptors(service) < before
        none.of()
        assert stub_scheduler.ask(b"bob@h", queue_memfd()) == (b"K", b"did 0+0+1\n")
        stub_scheduler.sock.close()
        assert service.end() == 0
    finally:
        service.kill()
