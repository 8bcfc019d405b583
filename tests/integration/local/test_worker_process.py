"""An agent changes to its user permanently, or does not start."""

import os
import socket

import pytest

from eqmail_core.local.service import protocol as wire
from eqmail_core.local.service import worker_process as agent
from eqmail_core.site.site import Site
from eqmail_core.system.privileges import PrivilegeError
from eqmail_core.users.user import LOOKUP_USAGE, User


def test_a_worker_that_cannot_change_user_delivers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(_uid: int, _gid: int) -> None:
        raise PrivilegeError("no")

    monkeypatch.setattr(agent, "become_user", cannot)
    monkeypatch.setattr(agent, "WorkerLoop", lambda *_args: pytest.fail("it serves all the same"))
    user = User(b"joe", 54321, 54321, b"/home/joe", b"", b"")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fd = os.open("/dev/null", os.O_RDONLY)
    ours.sendmsg([wire.order(wire.AgentOrder(1, b"", b"joe", b"h", b"", user, fd))])
    os.close(fd)
    with ours, theirs:
        assert agent.run(Site(home="/nonexistent"), user, b"./Maildir/", {}, theirs) == LOOKUP_USAGE
        assert theirs.recv(100), "the order was not even read"


def test_a_carrier_that_keeps_privileges_delivers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot() -> None:
        raise OSError(1, "no")

    monkeypatch.setattr(agent, "keep_only_changing_users", cannot)
    monkeypatch.setattr(agent, "WorkerLoop", lambda *_args: pytest.fail("it serves all the same"))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, pytest.raises(OSError, match="no"):
        agent.run_carrier(Site(home="/nonexistent"), b"./Maildir/", theirs)
