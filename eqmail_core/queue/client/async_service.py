"""Queues mail of a resident service over the submission protocol, on its event loop.

`AsyncQueueClient` keeps one connection for messages that are in memory and reconnects when it breaks. A message that
is still arriving has its own connection (`StreamedSubmission`), so that it can be paused and aborted.

Fails: never by exception; every failure is an exit code of qmail-queue given to `done`.
"""

import asyncio
from collections.abc import Callable

from eqmail_core.ipc import submission_protocol as wire
from eqmail_core.ipc.async_channel import AsyncChannel
from eqmail_core.ipc.packet_socket import NO_WAIT_S, connect_to
from eqmail_core.queue.format import exit_codes as q

Done = Callable[[int, int, int, int], None]
"""Called once with exit code, message number, unix time and qp; for the code see queue/format/exit_codes.py."""

# Packets that may wait in a long submission before its caller is asked to pause.
_MANY = 4


class AsyncQueueClient:
    """One connection to the queue service at `path`, shared by all messages of a service."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: str) -> None:
        self._loop = loop
        self._path = path
        self._channel: AsyncChannel | None = None
        self._tag = 0
        self._outstanding: dict[int, Done] = {}

    @property
    def outstanding(self) -> int:
        """Count the submissions that have no result yet."""
        return len(self._outstanding)

    def submit(self, envelope: bytes, message: bytes, done: Done) -> None:
        """Queue a message; `done` is called later, never from within this call.

        `envelope` as rendered by `mail.envelope`.  Code 71: the service is not running; 74: it
        disconnected before it answered.
        """
        channel = self._channel or self._open()
        if channel is None:
            self._loop.call_soon(done, q.SERVICE_AWAY, 0, 0, 0)
            return
        self._tag = tag = (self._tag + 1) & 0xFFFFFFFF
        self._outstanding[tag] = done
        for packet in wire.submission(tag, envelope, message):
            channel.send(packet)

    def open_long(self, done: Done, on_ready: Callable[[], None]) -> "StreamedSubmission":
        """Begin a message that arrives in pieces; `on_ready()` follows every `write` that returned False."""
        return StreamedSubmission(self._loop, self._path, done, on_ready)

    def close(self) -> None:
        """Close the connection; submissions without a result get 74."""
        if self._channel is not None:
            self._channel.close()

    def _open(self) -> AsyncChannel | None:
        try:
            sock = connect_to(self._path, NO_WAIT_S)
        except OSError:
            return None
        self._channel = channel = AsyncChannel(self._loop, sock, self._on_packet, self._on_close)
        return channel

    def _on_packet(self, packet: bytes, fd: int) -> None:
        try:
            tag, code, number, when, qp = wire.split_result(packet)
        except wire.SubmissionProtocolError:
            return
        done = self._outstanding.pop(tag, None)
        if done is not None:
            done(code, number, when, qp)

    def _on_close(self) -> None:
        self._channel = None
        lost, self._outstanding = self._outstanding, {}
        for done in lost.values():
            self._loop.call_soon(done, q.CONNECTION_LOST, 0, 0, 0)


class StreamedSubmission:
    """One message in pieces: any number of `write`, then `commit` or `abort`.

    `done` is called once unless `abort` came first. It may come before `commit` when the queue cannot accept the
    message; then further writes are ignored.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, path: str, done: Done, on_ready: Callable[[], None]) -> None:
        self._loop = loop
        self._done: Done | None = done
        self._on_ready = on_ready
        self._channel: AsyncChannel | None = None
        try:
            sock = connect_to(path, NO_WAIT_S)
        except OSError:
            loop.call_soon(self._finish, q.SERVICE_AWAY, 0, 0, 0)
        else:
            self._channel = AsyncChannel(loop, sock, self._on_packet, self._on_close, self._drained)
        self._asked_to_pause = False

    def write(self, chunk: bytes) -> bool:
        """Pass on a piece of the message; False asks for a pause until `on_ready`."""
        channel = self._channel
        if channel is None:
            return True
        for packet in wire.pieces(wire.BODY, 0, chunk):
            channel.send(packet)
        self._asked_to_pause = len(channel.pending) > _MANY
        return not self._asked_to_pause

    def commit(self, envelope: bytes) -> None:
        """End the message and queue it for `envelope`."""
        if self._channel is not None:
            for packet in (*wire.pieces(wire.ENVELOPE, 0, envelope), wire.tagged(wire.COMMIT, 0)):
                self._channel.send(packet)

    def abort(self) -> None:
        """Drop the message; `done` is not called."""
        self._done = None
        if self._channel is not None:
            self._channel.close()

    def _finish(self, code: int, number: int, when: int, qp: int) -> None:
        done, self._done = self._done, None
        if self._channel is not None:
            self._channel.close()
        if done is not None:
            done(code, number, when, qp)

    def _on_packet(self, packet: bytes, fd: int) -> None:
        try:
            _, code, number, when, qp = wire.split_result(packet)
        except wire.SubmissionProtocolError:
            return
        self._finish(code, number, when, qp)

    def _on_close(self) -> None:
        self._channel = None
        if self._asked_to_pause:
            self._loop.call_soon(self._drained)
        if self._done is not None:
            self._loop.call_soon(self._finish, q.CONNECTION_LOST, 0, 0, 0)

    def _drained(self) -> None:
        if self._asked_to_pause:
            self._asked_to_pause = False
            self._on_ready()
