"""The supervisor: its readiness, its restarts, the descriptors of its children, and its end."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eqmail_core.service.readiness import tell_failure, tell_ready
from eqmail_core.service.record import read_record, write_record
from eqmail_core.service.status import DOWN, READY, ServiceStatus, parse_status
from eqmail_core.site.site import Site
from eqmail_core.supervisor import supervisor
from eqmail_core.supervisor.service_manager import ServiceManager
from eqmail_core.supervisor.service_process import SupervisedService
from eqmail_core.supervisor.supervisor import StartFailed, Supervisor, logging_services
from eqmail_core.system.kernel import lock_holder
from tests.support.mail_system import until

TIMEOUT_S = 60.0


class Running:
    """A supervisor in a process of its own, a service manager that it notifies, and its record."""

    def __init__(self, folder: Path, services: Callable[[], list[SupervisedService]], stop_s: float = 0.0) -> None:
        (folder / "run").mkdir()
        self.site = Site(home=str(folder), single_user=True)
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(folder / "notify"))
        self.manager.settimeout(TIMEOUT_S)
        self.log = folder / "log"
        self.pid = os.fork()
        if not self.pid:
            try:
                fd = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                os.dup2(fd, 2)
                manager = ServiceManager(os.fsencode(folder / "notify"))
                Supervisor(services(), manager, lambda found: write_record(self.site, found), stop_s).run()
                os._exit(0)
            except StartFailed as reason:
                os.write(2, f"failed: {reason}\n".encode())
                os._exit(111)
            except BaseException as error:
                os.write(2, f"error: {error!r}\n".encode())
                os._exit(99)

    def reported(self) -> bytes:
        """The next notification of the manager other than EXTEND_TIMEOUT_USEC."""
        while (output := self.manager.recv(200)).startswith(b"EXTEND_TIMEOUT_USEC="):
            pass
        return output

    def record(self) -> list[ServiceStatus]:
        return read_record(self.site)

    def wait(self) -> int:
        pid, self.pid = self.pid, 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def stop(self) -> int:
        os.kill(self.pid, signal.SIGTERM)
        return self.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def begin(
        *services: SupervisedService, stop_s: float = 0.0, before: Callable[[], object] = lambda: None
    ) -> Running:
        def prepared() -> list[SupervisedService]:
            before()
            return list(services)

        made.append(Running(tmp_path, prepared, stop_s))
        return made[-1]

    yield begin
    for running in made:
        running.manager.close()
        if running.pid:
            os.kill(running.pid, signal.SIGKILL)
            running.wait()


def serve() -> None:
    """A service that serves until TERM."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    tell_ready()
    while True:
        signal.pause()


def service(name: str, run: Callable[[], None] = serve, last: int = 0) -> SupervisedService:
    return SupervisedService(name, run, [], last)


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def test_the_manager_is_notified_when_every_service_is_ready(tmp_path: Path, start: Callable[..., Running]) -> None:
    def slow() -> None:
        wait_for(tmp_path / "go")
        serve()

    running = start(service("quick"), service("slow", slow))
    until(lambda: len(running.record()) == 2 and running.record()[0].state == READY, "the quick one", TIMEOUT_S)
    assert running.record()[1].state != READY
    running.manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        running.reported()
    running.manager.settimeout(TIMEOUT_S)
    (tmp_path / "go").touch()
    assert running.reported().startswith(b"READY=1")
    assert running.stop() == 0


def test_a_service_that_cannot_start_makes_the_start_fail_with_its_reason(start: Callable[..., Running]) -> None:
    def fails() -> None:
        os.open("/nonexistent/control/me", os.O_RDONLY)

    running = start(service("good"), service("bad", fails))
    assert running.wait() == 111
    assert running.reported().startswith(b"STOPPING=1")
    log = running.log.read_text()
    assert "qmail-start: fatal: bad: /nonexistent/control/me: " in log
    assert "failed: bad: /nonexistent/control/me: " in log


def test_the_error_of_a_service_is_the_reason(start: Callable[..., Running]) -> None:
    def fails() -> None:
        tell_failure("control/rcpthosts: Permission denied\nand more")
        raise SystemExit(111)

    running = start(service("bad", fails))
    assert running.wait() == 111
    assert "failed: bad: control/rcpthosts: Permission denied/and more\n" in running.log.read_text()
    assert "fatal: bad: SystemExit" not in running.log.read_text()


def test_a_service_that_ends_later_is_started_again_and_is_on_record(
    tmp_path: Path, start: Callable[..., Running]
) -> None:
    def dies_once() -> None:
        if (tmp_path / "fall").exists():
            serve()
        tell_ready()
        wait_for(tmp_path / "fall")
        raise OSError(13, "Permission denied", "journal/segment.1")

    running = start(service("frail", dies_once))
    assert running.reported().startswith(b"READY=1")
    (tmp_path / "fall").touch()
    until(lambda: running.record()[0].ends == 1 and running.record()[0].state == READY, "a new one", TIMEOUT_S)
    (status,) = running.record()
    assert status.reason == "journal/segment.1: Permission denied" and status.ended_at and status.pid
    assert running.stop() == 0


def test_a_fork_that_fails_is_tried_again(
    tmp_path: Path, start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    fork = os.fork

    def no_fork_twice() -> None:
        count = 0

        def tried() -> int:
            nonlocal count
            count += 1
            if count in (2, 3):
                raise OSError(11, "Resource temporarily unavailable")
            return fork()

        os.fork = tried

    def dies_once() -> None:
        if (tmp_path / "fallen").exists():
            serve()
        (tmp_path / "fallen").touch()
        tell_ready()
        wait_for(tmp_path / "fall")

    running = start(service("frail", dies_once), before=no_fork_twice)
    assert running.reported().startswith(b"READY=1")
    (tmp_path / "fall").touch()
    until(lambda: running.record()[0].ends == 3 and running.record()[0].state == READY, "a new one", TIMEOUT_S)
    assert "cannot be started: Resource temporarily unavailable" in running.log.read_text()
    assert running.stop() == 0


def test_a_service_holds_its_own_descriptors_and_no_others(tmp_path: Path, start: Callable[..., Running]) -> None:
    ours, theirs = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    lock = os.open(tmp_path / "start.lock", os.O_RDWR | os.O_CREAT)

    def look() -> None:
        entries = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd") if int(name) > 2]
        lines = [os.readlink(entry) for entry in entries if os.path.lexists(entry)]
        (tmp_path / "held.new").write_text("\n".join(lines))
        (tmp_path / "held.new").rename(tmp_path / "held")
        serve()

    with ours, theirs:
        mine = os.readlink(f"/proc/self/fd/{ours.fileno()}")
        running = start(SupervisedService("own", look, [ours], 0), SupervisedService("other", serve, [theirs], 0))
        assert running.reported().startswith(b"READY=1")
        pipe, sock = sorted((tmp_path / "held").read_text().splitlines())
        assert sock == mine and pipe.startswith("pipe:")
        assert running.stop() == 0
    os.close(lock)


def test_a_logger_counts_as_soon_as_it_is_its_program(tmp_path: Path) -> None:
    keep = "import sys\nfor line in sys.stdin: open(sys.argv[1], 'a').write(line)\n"

    def speak() -> None:
        os.write(1, b"a line\n")
        serve()

    def services() -> list[SupervisedService]:
        logger, _ = logging_services(running_site, [sys.executable, "-c", keep, str(tmp_path / "kept")])
        return [*logger, service("speaker", speak)]

    running_site = Site(home=str(tmp_path), single_user=True)
    running = Running(tmp_path, services)
    try:
        assert running.reported().startswith(b"READY=1")
        assert [it.name for it in running.record()] == ["logger", "speaker"]
        until(lambda: (tmp_path / "kept").exists() and "a line" in (tmp_path / "kept").read_text(), "a line", TIMEOUT_S)
    finally:
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        running.manager.close()


def deaf() -> None:
    """A service that does not end on TERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tell_ready()
    while True:
        signal.pause()


def test_a_second_term_ends_what_does_not_end(start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "REPEATED_TERM_S", 0.0)
    running = start(service("deaf", deaf), service("polite", last=1))
    assert running.reported().startswith(b"READY=1")
    os.kill(running.pid, signal.SIGTERM)
    assert running.reported() == b"STOPPING=1"
    assert running.stop() == 0
    assert "alert: still running and killed: deaf\n" in running.log.read_text()


def test_a_stop_ends_by_force_after_its_time(start: Callable[..., Running]) -> None:
    running = start(service("deaf", deaf), service("polite", last=1), stop_s=0.2)
    assert running.reported().startswith(b"READY=1")
    assert running.stop() == 0
    assert "alert: still running and killed: deaf\n" in running.log.read_text()


def test_the_record_keeps_its_lines_with_any_reason_text() -> None:
    from eqmail_core.service.status import render_status

    (found,) = parse_status(render_status([ServiceStatus("queue", 0, DOWN, 5, 2, 7, "a\tb\nc\x00")]))
    assert (found.name, found.state, found.reason) == ("queue", DOWN, "a b c ")
    with pytest.raises(ValueError, match="no record"):
        parse_status(b"queue\t1\n")


def test_the_holder_of_a_lock_is_found(tmp_path: Path) -> None:
    import fcntl

    path = tmp_path / "start.lock"
    path.write_text("1\n")
    with open(path, "rb+") as file:
        assert lock_holder(file.fileno()) == 0
        locked, reported = os.pipe()
        pid = os.fork()
        if not pid:
            fcntl.lockf(os.open(path, os.O_RDWR), fcntl.LOCK_EX)
            os.write(reported, b"x")
            while True:
                signal.pause()
        try:
            os.read(locked, 1)
            assert lock_holder(file.fileno()) == pid
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(locked)
            os.close(reported)
