"""A listening socket on an event loop when connections cannot be taken."""

import asyncio
import errno
import socket

import pytest

from eqmail_core.event_loop import async_listener as loop_listener
from eqmail_core.event_loop.async_listener import LoopListener


class Failing(socket.socket):
    """A listener whose `accept` fails as often as there are `errors` left; `calls` counts."""

    errors: list[int]
    calls = 0

    def accept(self) -> tuple[socket.socket, object]:  # type: ignore[override]  # as the tests use it
        self.calls += 1
        if self.errors:
            code = self.errors.pop(0)
            raise OSError(code, "no")
        return super().accept()


def run(errors: list[int]) -> tuple[int, list[str], int]:
    """Connect once; calls of accept until a while after the first one, complaints, and connections taken."""
    listener = Failing(socket.AF_INET, socket.SOCK_STREAM)
    listener.errors = errors
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    complaints: list[str] = []
    taken: list[socket.socket] = []

    async def harness() -> int:
        listening = LoopListener(asyncio.get_running_loop(), listener, taken.append, complaints.append)
        with socket.create_connection(listener.getsockname()):
            while listener.calls < 1 or (len(taken) < 1 and loop_listener.RETRY_S < 1):
                await asyncio.sleep(0.001)
            for _ in range(100):
                await asyncio.sleep(0)
        listening.close()
        return listener.calls

    with listener:
        calls = asyncio.run(harness())
    for sock in taken:
        sock.close()
    return calls, complaints, len(taken)


def test_without_descriptors_it_does_not_spin() -> None:
    calls, complaints, taken = run([errno.EMFILE] * 1000)
    assert (calls, taken) == (1, 0)
    assert complaints == ["warning: cannot accept connections for now: process cannot open more files"]


def test_the_connection_is_accepted_later_and_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_listener, "RETRY_S", 0.01)
    calls, complaints, taken = run([errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
    assert (calls, len(complaints), taken) == (4, 1, 1)


def test_an_aborted_connection_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_listener, "RETRY_S", 0.01)
    calls, complaints, taken = run([errno.ECONNABORTED])
    assert (calls, complaints, taken) == (2, [], 1)
