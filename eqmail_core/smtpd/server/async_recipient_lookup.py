"""Look up recipients on the delivering side from the event loop of the SMTP service.

There is one connection, which is reopened when it breaks.  Any number of queries share it, each with a timeout.

Fails: never by exception; without an answer the result is b"".
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from eqmail_core.ipc import recipient_lookup_protocol as wire
from eqmail_core.ipc.async_channel import AsyncChannel
from eqmail_core.ipc.packet_socket import NO_WAIT_S, connect_to
from eqmail_core.smtpd.server.blocking_recipient_lookup import NO_ANSWER, TIMEOUT_S

OnAnswer = Callable[[bytes], None]
"""Called once, with the letter of an outcome or b""."""

MAX_WAITING = 4096
"""Maximum number of pending queries; further ones get no answer."""


class RecipientLookup(Protocol):
    """A source of recipient lookups; see `RecipientLookupClient`."""

    def ask(self, recipient: bytes, on_answer: OnAnswer) -> None:
        """Look up a recipient; `on_answer` is called soon."""


class NoRecipientLookup:
    """The lookup without a delivering side."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def ask(self, recipient: bytes, on_answer: OnAnswer) -> None:
        """Answer b""."""
        self._loop.call_soon(on_answer, NO_ANSWER)


class RecipientLookupClient:
    """The connection to the socket at `path`; each query may take `timeout_s`.

    `write_log(line)` is called when the lookup fails, and not again before a query has succeeded.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: str,
        write_log: Callable[[bytes], None],
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._loop = loop
        self._path = path
        self._write_log = write_log
        self._timeout_s = timeout_s
        self._channel: AsyncChannel | None = None
        self._tag = 0
        self._waiting: dict[int, tuple[OnAnswer, asyncio.TimerHandle]] = {}
        self._has_complained = False

    def ask(self, recipient: bytes, on_answer: OnAnswer) -> None:
        """Look up a recipient; `on_answer` is never called from within this call."""
        channel = self._channel or self._open()
        if channel is None or len(self._waiting) >= MAX_WAITING:
            self._give_up(on_answer)
            return
        self._tag = tag = (self._tag + 1) & 0xFFFFFFFF
        self._waiting[tag] = (on_answer, self._loop.call_later(self._timeout_s, self._expire, tag))
        channel.send(wire.question(tag, recipient))

    def close(self) -> None:
        """Close the connection; pending queries are answered with b""."""
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
            tag, letter = wire.split_answer(packet)
        except wire.LookupProtocolError:
            return
        on_answer, timer = self._waiting.pop(tag, (None, None))
        if on_answer is not None and timer is not None:
            timer.cancel()
            self._has_complained = False
            on_answer(letter)

    def _on_close(self) -> None:
        self._channel = None
        lost, self._waiting = self._waiting, {}
        for on_answer, timer in lost.values():
            timer.cancel()
            self._give_up(on_answer)

    def _expire(self, tag: int) -> None:
        on_answer, _ = self._waiting.pop(tag)
        self._give_up(on_answer)

    def _give_up(self, on_answer: OnAnswer) -> None:
        if not self._has_complained:
            self._has_complained = True
            self._write_log(b"nobody answers at %b: recipients are accepted unseen" % self._path.encode())
        self._loop.call_soon(on_answer, NO_ANSWER)
