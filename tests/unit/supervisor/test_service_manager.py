"""A service manager gets its notifications, its sockets are taken, and no child inherits its variables."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from eqmail_core.supervisor import service_manager as notify
from eqmail_core.text.listen_address import ROLES, TRANSFER


def manager(tmp_path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(tmp_path / "notify"))
    sock.settimeout(60)
    return sock


def test_a_manager_is_notified_of_readiness_watchdog_and_stop(tmp_path: Path) -> None:
    environ = {b"NOTIFY_SOCKET": os.fsencode(tmp_path / "notify"), b"WATCHDOG_USEC": b"3000000", b"PATH": b"/bin"}
    with manager(tmp_path) as sock:
        notified = notify.service_manager(environ)
        assert environ == {b"PATH": b"/bin"}
        assert notified.pause_s == 1.5
        notified.ready()
        notified.alive()
        notified.stopping()
        assert sock.recv(100) == b"READY=1\nMAINPID=%d" % os.getpid()
        assert sock.recv(100) == b"WATCHDOG=1"
        assert sock.recv(100) == b"STOPPING=1\nWATCHDOG_USEC=0"


def test_a_manager_is_notified_of_a_failed_start(tmp_path: Path) -> None:
    with manager(tmp_path) as sock:
        assert notify.service_manager({b"NOTIFY_SOCKET": os.fsencode(tmp_path / "notify")}).failed(111) == 111
        assert sock.recv(100) == b"ERRNO=125"


def test_without_a_watchdog_no_keepalives_are_sent(tmp_path: Path) -> None:
    with manager(tmp_path) as sock:
        notified = notify.service_manager({b"NOTIFY_SOCKET": os.fsencode(tmp_path / "notify")})
        notified.alive()
        notified.stopping()
        assert sock.recv(100) == b"STOPPING=1"


def test_the_watchdog_of_another_process_is_not_ours() -> None:
    notified = notify.service_manager({b"WATCHDOG_USEC": b"3000000", b"WATCHDOG_PID": b"1"})
    assert notified.pause_s == notify.IDLE_S


def test_a_notify_socket_in_the_abstract_namespace_works() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        name = b"eqmail-test-%d" % os.getpid()
        sock.bind(b"\0" + name)
        sock.settimeout(60)
        notify.service_manager({b"NOTIFY_SOCKET": b"@" + name}).ready()
        assert sock.recv(100).startswith(b"READY=1")


def test_a_missing_manager_stops_no_service() -> None:
    notify.service_manager({b"NOTIFY_SOCKET": b"/nonexistent/notify"}).ready()
    notify.ServiceManager().ready()


def test_sockets_are_taken_only_by_the_process_they_are_for() -> None:
    environ = {b"LISTEN_PID": b"1", b"LISTEN_FDS": b"1", b"LISTEN_FDNAMES": b"smtp"}
    assert notify.given_listeners(environ) == []
    assert environ == {}


def test_a_listening_socket_is_taken_and_kept_from_children(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        fd = os.dup(server.fileno())
        os.set_inheritable(fd, True)
        monkeypatch.setattr(notify, "FIRST_FD", fd)
        (found,) = notify.given_listeners({b"LISTEN_PID": b"%d" % os.getpid(), b"LISTEN_FDS": b"1"})
        with found:
            assert found.role == TRANSFER
            assert found.getsockname() == server.getsockname()
            assert not os.get_inheritable(fd)


@pytest.mark.parametrize("name", ["tls", "submission", "submissions"])
def test_the_name_of_a_passed_socket_is_its_role(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(notify, "FIRST_FD", os.dup(server.fileno()))
        environ = {b"LISTEN_PID": b"%d" % os.getpid(), b"LISTEN_FDS": b"1", b"LISTEN_FDNAMES": name.encode()}
        (found,) = notify.given_listeners(environ)
        with found:
            assert found.role == ROLES[name]


def test_a_socket_that_does_not_listen_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as sock:
        monkeypatch.setattr(notify, "FIRST_FD", sock.fileno())
        with pytest.raises(OSError, match="no listening TCP socket"):
            notify.given_listeners({b"LISTEN_PID": b"%d" % os.getpid(), b"LISTEN_FDS": b"1"})


def test_a_manager_that_does_not_read_is_waited_for_by_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    class Counted(socket.socket):
        def sendto(self, *args: Any) -> int:
            tried.append(self.gettimeout())
            return super().sendto(*args)

    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, socket.socket(manager.family, manager.type) as me:
        manager.bind(address)
        me.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                me.sendto(b"x", address)
        monkeypatch.setattr(socket, "socket", Counted)
        notify.ServiceManager(os.fsencode(address), 10.0).alive()
    # With a timeout of Python's it would be tried for a second, as often as that can be.
    assert tried == [None]
