"""A listening socket of a service: who is taken, and what happens when nobody can be."""

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


class Scene:
    """A listener, whoever has come, and how many events there were."""

    def __init__(self, folder: Path, welcome: set[int]) -> None:
        self.path = str(folder / "sock")
        self.selector = selectors.DefaultSelector()
        self.come: list[socket.socket] = []
        self.socket = listen_at(self.path, 0o600)
        self.listener = Listener(self.selector, self.socket, welcome, self.come.append, "test")

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
def scene(tmp_path: Path) -> Iterator[Scene]:
    it = Scene(tmp_path, {os.getuid()})
    yield it
    it.close()


def test_who_is_welcome_comes(scene: Scene) -> None:
    with connect_to(scene.path):
        scene.turn()
        assert len(scene.come) == 1


def test_a_stranger_is_hung_up_on(tmp_path: Path) -> None:
    scene = Scene(tmp_path, {os.getuid() + 1})
    with connect_to(scene.path, 20.0) as sock:
        scene.turn()
        assert not scene.come and sock.recv(1) == b""
    scene.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
def test_without_descriptors_it_rests_and_takes_who_waits_later(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], number: int
) -> None:
    def none_left(_sock: socket.socket) -> None:
        raise OSError(number, os.strerror(number))

    with connect_to(scene.path), monkeypatch.context() as patch:
        patch.setattr(socket.socket, "accept", none_left)
        assert scene.turn() == 1
        assert scene.turn() == 0, "it stays quiet, for the socket stays readable"
        scene.listener.tidy()
        assert scene.turn() == 0
        patch.undo()
        now = time.monotonic()
        monkeypatch.setattr(module.time, "monotonic", lambda: now + module.PAUSE_S + 1)
        scene.listener.tidy()
        scene.turn()
        assert len(scene.come) == 1
    assert capfd.readouterr().err.count("cannot take a connection") == 1
