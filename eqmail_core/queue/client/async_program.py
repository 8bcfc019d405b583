"""Queues mail of a resident service through the program that QMAILQUEUE names.

Each message has its own child process.

It has the interface of `AsyncQueueClient`, so that a service can use either.

Fails: never by exception; every failure is an exit code of qmail-queue given to `done`.
Source: queue.md 3.5 "caller library contract".
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping

from eqmail_core.event_loop.async_process import PipeWriter, on_end
from eqmail_core.event_loop.child_slots import ChildSlots, Slot
from eqmail_core.queue.client.async_service import Done
from eqmail_core.queue.format import exit_codes as q
from eqmail_core.system.files import close_all, left_in, open_pipes
from eqmail_core.system.processes import IGNORED_BY_PYTHON

# Bytes that may wait for the program before the caller is asked to pause.
_MANY = 1 << 18


class QueuePrograms:
    """Queues messages of one client through `program`, run in the current working directory.

    `environ` renders its environment.  The program of a message starts when `slots` has room for one of `address`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        program: bytes,
        environ: Callable[[], Mapping[bytes, bytes]],
        slots: ChildSlots,
        address: bytes,
    ) -> None:
        self._loop = loop
        self._program = program
        self._environ = environ
        self._slots = slots
        self._address = address

    def submit(self, envelope: bytes, message: bytes, done: Done) -> None:
        """Queue a message; `done` is called later, never from within this call."""
        submission = self.open_long(done, lambda: None)
        submission.write(message)
        submission.commit(envelope)

    def open_long(self, done: Done, on_ready: Callable[[], None]) -> "ProgramSubmission":
        """Begin a message that arrives in pieces; `on_ready()` follows every `write` that returned False."""
        submission = ProgramSubmission(self._loop, self._program, self._environ(), done, on_ready)
        submission.wait_for(self._slots, self._address)
        return submission


class ProgramSubmission:
    """One message for one child: any number of `write`, then `commit` or `abort`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        program: bytes,
        environ: Mapping[bytes, bytes],
        done: Done,
        on_ready: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._program = program
        self._environ = environ
        self._done: Done | None = done
        self._on_ready = on_ready
        self._envelope_text: bytes | None = None
        self._is_paused = False
        self._slot: Slot | None = None
        self._held = bytearray()
        self._has_begun = False
        self._message: PipeWriter | None = None

    def wait_for(self, slots: ChildSlots, address: bytes) -> None:
        """Start the program when there is room for it: now, or later."""
        slot = slots.enter(address, self._begin)
        if self._message is None and self._has_begun:
            slot.leave()  # it could not be started
        else:
            self._slot = slot

    def write(self, chunk: bytes) -> bool:
        """Pass on a piece of the message; False asks for a pause until `on_ready`."""
        if not self._has_begun:
            self._held += chunk
            self._is_paused = len(self._held) > _MANY
            return not self._is_paused
        if self._message is None:
            return True
        self._message.write(chunk)
        self._is_paused = self._message.waiting > _MANY
        return not self._is_paused

    def commit(self, envelope: bytes) -> None:
        """End the message and queue it for `envelope`."""
        self._envelope_text = envelope
        if self._message is not None:
            self._message.end()
            if not self._message.waiting:
                self._send_envelope()

    def abort(self) -> None:
        """Drop the message; the child gets no envelope, and `done` is not called."""
        self._done = None
        self._close()
        if not self._has_begun and self._slot is not None:
            self._slot.leave()

    def _begin(self) -> None:
        """Start the program, and give it what has come until now."""
        self._has_begun = True
        try:
            (message_out, message), (envelope_out, envelope), (self._text, text) = open_pipes(3)
        except OSError:
            self._fail_to_begin(q.NO_MEMORY)
            return
        actions = [
            (os.POSIX_SPAWN_DUP2, message_out, 0),
            (os.POSIX_SPAWN_DUP2, envelope_out, 1),
            (os.POSIX_SPAWN_DUP2, text, q.TEXT_FD),
        ]
        try:
            self._pid = os.posix_spawn(
                self._program, [self._program], self._environ, file_actions=actions, setsigdef=IGNORED_BY_PYTHON
            )
        except OSError:
            close_all(message, envelope, self._text)
            self._fail_to_begin(q.CANNOT_EXEC)
            return
        finally:
            close_all(message_out, envelope_out, text)
        self._message = PipeWriter(self._loop, message, self._drained)
        self._envelope = PipeWriter(self._loop, envelope, lambda: None)
        on_end(self._loop, self._pid, self._ended)
        held, self._held = bytes(self._held), bytearray()
        self._message.write(held)
        if self._envelope_text is not None:
            self.commit(self._envelope_text)

    def _fail_to_begin(self, code: int) -> None:
        self._held.clear()
        if self._slot is not None:
            self._slot.leave()
        self._loop.call_soon(self._finish, code)

    def _drained(self) -> None:
        if self._envelope_text is not None:
            self._send_envelope()
        elif self._is_paused:
            self._is_paused = False
            self._on_ready()

    def _send_envelope(self) -> None:
        text, self._envelope_text = self._envelope_text or b"", None
        if self._message is not None and not self._message.broken:
            self._envelope.write(text)
        self._envelope.end()

    def _ended(self, code: int) -> None:
        if self._slot is not None:
            self._slot.leave()
        reason = left_in(self._text, q.MAX_TEXT)
        is_broken = self._message is None or self._message.broken or self._envelope.waiting > 0
        if code == q.OK and (is_broken or self._envelope_text is not None):
            code = q.READ_ERROR
        self._finish(q.CRASHED if code < 0 else q.Reasoned(code, reason), self._pid)

    def _finish(self, code: int, qp: int = 0) -> None:
        self._close()
        done, self._done = self._done, None
        if self._is_paused:
            self._is_paused = False
            self._on_ready()
        if done is not None:
            done(code, 0, int(time.time()), qp)

    def _close(self) -> None:
        if self._message is not None:
            self._message.close()
            self._envelope.close()
            self._message = None
