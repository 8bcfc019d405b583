"""A listening socket of a service: accepted peers, and the lack of descriptors."""

import errno
import os
import selectors
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eqmail_core.event_loop import listener as module
from eqmail_core.event_loop.listener import Listener
from eqmail_core.ipc.packet_socket import connect_to, listen_at


class ListenerHarness:
    """A listener, its accepted connections, and the number of events."""

    def __init__(self, folder: Path, allowed_uids: set[int]) -> None:
        self.path = str(folder / "sock")
        self.selector = selectors.DefaultSelector()
        self.come: list[socket.socket] = []
        self.socket = listen_at(self.path, 0o600)
        self.listener = Listener(self.selector, self.socket, allowed_uids, self.come.append, "test")

    def turn(self) -> int:
        """Handle what there is now; the number of events."""
        events = self.selector.select(0)
        for key, mask in events:
            key.data(mask)
        return len(events)

    def close(self) -> None:
        for sock in (self.socket, *self.come):
            sock.close()
        self.selector.close()


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[ListenerHarness]:
    it = ListenerHarness(tmp_path, {os.getuid()})
    yield it
    it.close()


def test_an_allowed_peer_is_accepted(harness: ListenerHarness) -> None:
    with connect_to(harness.path):
        harness.turn()
        assert len(harness.come) == 1


def test_a_peer_with_a_foreign_uid_is_disconnected(tmp_path: Path) -> None:
    harness = ListenerHarness(tmp_path, {os.getuid() + 1})
    with connect_to(harness.path, 20.0) as sock:
        harness.turn()
        assert not harness.come and sock.recv(1) == b""
    harness.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
def test_without_descriptors_it_pauses_and_accepts_later(
    harness: ListenerHarness, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], number: int
) -> None:
    def none_left(_sock: socket.socket) -> None:
        raise OSError(number, os.strerror(number))

    with connect_to(harness.path), monkeypatch.context() as patch:
        patch.setattr(socket.socket, "accept", none_left)
        assert harness.turn() == 1
        assert harness.turn() == 0, "it stays quiet, for the socket stays readable"
        harness.listener.expire()
        assert harness.turn() == 0
        patch.undo()
        now = time.monotonic()
        monkeypatch.setattr(module.time, "monotonic", lambda: now + module.PAUSE_S + 1)
        harness.listener.expire()
        harness.turn()
        assert len(harness.come) == 1
    assert capfd.readouterr().err.count("cannot take a connection") == 1
