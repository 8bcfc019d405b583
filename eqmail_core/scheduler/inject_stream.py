"""Injects bounces over the submission protocol.

A long one is sent in pieces, as fast as the queue service reads it.
"""

import asyncio
from collections.abc import Callable, Iterator
from itertools import chain

from eqmail_core.dsn.notification import Notification
from eqmail_core.ipc.submission_protocol import MAX_WHOLE
from eqmail_core.queue.client.async_service import AsyncQueueClient, StreamedSubmission
from eqmail_core.queue.format.exit_codes import READ_ERROR

# Bounces in progress at a time.
_AT_A_TIME = 20


class StreamInjector:
    """Injects through the queue service.

    `on_result()` follows every result, so that the loop takes its turn.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, link: AsyncQueueClient, on_result: Callable[[], None]) -> None:
        self._loop = loop
        self._link = link
        self._on_result = on_result
        self._running = 0

    def is_ready(self) -> bool:
        """Whether one more injection may start."""
        return self._running < _AT_A_TIME

    def inject(self, bounce: Notification, pieces: Iterator[bytes], then: Callable[[int, int], None]) -> None:
        """Send the message: in one packet when it fits, else as fast as the queue service reads it."""
        self._running += 1

        def done(code: int, number: int, when: int, qp: int) -> None:
            self._running -= 1
            then(code, qp)
            self._on_result()

        envelope = bounce.envelope.render()
        head: list[bytes] = []
        room = MAX_WHOLE - len(envelope)
        try:
            for piece in pieces:
                head.append(piece)
                room -= len(piece)
                if room < 0:
                    StreamFeeder(self._loop, self._link, envelope, chain(head, pieces), done)
                    return
        except OSError:
            self._loop.call_soon(done, READ_ERROR, 0, 0, 0)
            return
        self._link.submit(envelope, b"".join(head), done)


class StreamFeeder:
    """Writes one long submission whenever its connection has room for more."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        link: AsyncQueueClient,
        envelope: bytes,
        pieces: Iterator[bytes],
        done: Callable[[int, int, int, int], None],
    ) -> None:
        self._loop = loop
        self._envelope = envelope
        self._pieces = pieces
        self._done = done
        self._over = False
        self._submission: StreamedSubmission = link.open_long(self._finish, self._feed)
        loop.call_soon(self._feed)

    def _feed(self) -> None:
        if self._over:
            return
        try:
            for piece in self._pieces:
                if not self._submission.write(piece):
                    return
        except OSError:
            self._submission.abort()
            self._loop.call_soon(self._finish, READ_ERROR, 0, 0, 0)
            return
        self._submission.commit(self._envelope)

    def _finish(self, code: int, number: int, when: int, qp: int) -> None:
        if not self._over:
            self._over = True
            self._done(code, number, when, qp)
