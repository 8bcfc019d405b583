"""One client that submits messages: the service's end of the submission protocol, with its limits.

The kernel identifies the client; the Received line and the todo file say so too.

Long because it is one state machine.

Fails: a malformed packet ends the connection; a fault of a message is an exit code of qmail-queue.
"""

import os
from collections.abc import Callable
from functools import partial
from zlib import crc32

from eqmail_core.ipc import submission_protocol as wire
from eqmail_core.ipc.async_channel import AsyncChannel
from eqmail_core.mail.received import invoked_line
from eqmail_core.queue.format import exit_codes as q
from eqmail_core.queue.format.envelope import scan_envelope
from eqmail_core.queue.service.accepted_message import AcceptedMessage
from eqmail_core.queue.service.submission_context import SubmissionContext
from eqmail_core.site.accounts import PeerCredentials

SMALL_BODY_BYTES = 65536
"""Largest body, in bytes, kept in memory and journal; a longer one is written to the file of its number."""

MAX_ENVELOPE = 16 << 20
"""Longest envelope accepted, in bytes; a longer one gets the code for lack of memory."""

MAX_OPEN = 1024
"""Unfinished messages of one connection, at most."""

MAX_OPEN_OF_USER = 8
"""The same, for a user that is no mail account."""

LIFETIME_S = 86400
IDLE_S = 300
"""Seconds without a piece after which an unfinished message may be dropped when others need its room."""


class PartialMessage:
    """A message that is not complete.

    `weight`: its bytes in memory; `touched`: time of its last piece.
    """

    __slots__ = ("birth", "code", "crc", "envelope", "fd", "number", "pieces", "qp", "size", "touched", "weight")

    def __init__(self, birth: int, qp: int, received: bytes) -> None:
        self.birth = self.touched = birth
        self.weight = 0
        self.qp = qp
        self.code = q.OK
        self.pieces: list[bytes] = [received]
        self.size = len(received)
        self.envelope = bytearray()
        self.fd = -1
        self.number = 0
        self.crc = 0


class SubmissionConnection:
    """A connection of a client with these credentials."""

    def __init__(self, context: SubmissionContext, channel: AsyncChannel, peer: PeerCredentials) -> None:
        self._context = context
        self._channel = channel
        self._peer = peer
        self._invoked_by = context.invoked_by(peer.uid)
        self._partial: dict[int, PartialMessage] = {}
        self._has_submitted = False
        self._unanswered = 0
        self.active_at = context.now()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is unfinished and every answer was sent."""
        return not self._partial and not self._unanswered

    def on_packet(self, packet: bytes) -> None:
        """Process a packet."""
        self.active_at = self._context.now()
        try:
            if packet[:1] == wire.WHOLE:
                self._whole(packet)
            else:
                self._piece(*wire.split_tagged(packet))
        except wire.SubmissionProtocolError:
            self._channel.close()

    def on_close(self) -> None:
        """Drop what is not complete, because the peer closed the connection."""
        for unfinished in self._partial.values():
            self._drop(unfinished)
        self._partial.clear()

    def expire(self, before: int) -> None:
        """Drop messages that were begun before this second."""
        self._give_up([tag for tag, it in self._partial.items() if it.birth < before])

    def expire_idle(self, before: int) -> None:
        """Drop messages that received no piece since this second."""
        self._give_up([tag for tag, it in self._partial.items() if it.touched < before])

    def _give_up(self, tags: list[int]) -> None:
        for tag in tags:
            self._drop(self._partial.pop(tag))
            self._refuse(tag, q.TIMEOUT)

    def _whole(self, packet: bytes) -> None:
        tag, envelope, message = wire.split_whole(packet)
        if len(message) > SMALL_BODY_BYTES:
            self._piece(wire.BODY, tag, bytes(message))
            self._piece(wire.ENVELOPE, tag, envelope)
            self._piece(wire.COMMIT, tag, b"")
            return
        code, end = scan_envelope(envelope)
        if code == q.OK:
            code, envelope = self._context.admit(self._peer.uid, envelope, end)
        if code != q.OK:
            self._refuse(tag, code)
            return
        now = self._context.now()
        qp = self._next_qp()
        self._submit(tag, now, qp, envelope, b"".join((self._received(qp, now), message)))

    def _submit(self, tag: int, birth: int, qp: int, envelope: bytes, body: bytes) -> None:
        try:
            number = self._context.store.take_number()
        except OSError:
            self._refuse(tag, q.WRITE_ERROR)
            return
        message = AcceptedMessage(number, birth, self._peer.uid, qp, envelope, body, len(body))
        self._context.load(message.weight, self._channel, self._peer.uid)
        self._unanswered += 1
        self._context.store.accept(message, partial(self._answer, tag, message.weight))

    def _answer(self, tag: int, weight: int, code: int, message: AcceptedMessage) -> None:
        self._unanswered -= 1
        self._channel.send(wire.result(tag, code, message.number if code == q.OK else 0, message.birth, message.qp))
        self._context.load(-weight, self._channel, self._peer.uid)

    def _refuse(self, tag: int, code: int) -> None:
        self._channel.send(wire.result(tag, code, 0, 0, 0))

    def _received(self, qp: int, now: int) -> bytes:
        return invoked_line(qp, self._invoked_by, self._context.date(now))

    def _next_qp(self) -> int:
        """Return the qp of the next message: the pid for the first, as qmail-queue does.

        A service that sends more gets numbers.
        """
        if self._has_submitted:
            return self._context.next_qp()
        self._has_submitted = True
        return self._peer.pid

    # Messages in pieces.

    def _piece(self, kind: bytes, tag: int, piece: bytes) -> None:
        unfinished = self._partial.get(tag)
        if unfinished is None:
            if kind == wire.ABORT:
                return
            if not self._may_open():
                self._channel.close()
                return
            now, qp = self._context.now(), self._next_qp()
            unfinished = self._partial[tag] = PartialMessage(now, qp, self._received(qp, now))
        unfinished.touched = self.active_at
        act = _ACTS.get(kind)
        if act is None:
            raise wire.SubmissionProtocolError("unknown packet")
        act(self, tag, unfinished, piece)

    def _may_open(self) -> bool:
        """Return whether another message may begin; if so, its place is taken."""
        context, uid = self._context, self._peer.uid
        if len(self._partial) >= (MAX_OPEN if context.is_account(uid) else MAX_OPEN_OF_USER):
            return False
        if context.places.take(uid, 1):
            return True
        context.make_room()
        return not self._channel.closed and context.places.take(uid, 1)

    def _may_keep(self, unfinished: PartialMessage, size: int) -> bool:
        """Return whether `size` more bytes may be kept in memory; if not, the message is dropped."""
        if self._context.memory.take(self._peer.uid, size):
            unfinished.weight += size
            return True
        self._context.make_room()
        unfinished.code = q.NO_MEMORY
        self._discard(unfinished)
        return False

    def _release_memory(self, unfinished: PartialMessage, size: int) -> None:
        """Note that `size` bytes are not in memory any more."""
        unfinished.weight -= size
        self._context.memory.give_back(self._peer.uid, size)

    def _body(self, tag: int, unfinished: PartialMessage, piece: bytes) -> None:
        if unfinished.code != q.OK or not self._may_keep(unfinished, len(piece)):
            return
        unfinished.pieces.append(piece)
        unfinished.size += len(piece)
        if unfinished.size > SMALL_BODY_BYTES:
            try:
                self._write(unfinished)
            except OSError:
                unfinished.code = q.WRITE_ERROR
                self._discard(unfinished)

    def _write(self, unfinished: PartialMessage) -> None:
        """Write the pieces received so far to the file of the message's number."""
        if unfinished.fd < 0:
            unfinished.number = self._context.store.take_number()
            unfinished.fd = self._context.disk.open(
                self._context.store.path_for(unfinished.number), os.O_WRONLY | os.O_TRUNC
            )
        for piece in unfinished.pieces:
            self._context.disk.write(unfinished.fd, piece)
            unfinished.crc = crc32(piece, unfinished.crc)
        unfinished.pieces = []
        self._release_memory(unfinished, unfinished.weight - len(unfinished.envelope))

    def _envelope(self, tag: int, unfinished: PartialMessage, piece: bytes) -> None:
        if len(unfinished.envelope) + len(piece) > MAX_ENVELOPE:
            unfinished.code = q.NO_MEMORY
            self._discard(unfinished)
        elif unfinished.code == q.OK and self._may_keep(unfinished, len(piece)):
            unfinished.envelope += piece

    def _commit(self, tag: int, unfinished: PartialMessage, piece: bytes) -> None:
        del self._partial[tag]
        self._context.places.give_back(self._peer.uid, 1)
        envelope = b""
        if unfinished.code == q.OK:
            unfinished.code, end = scan_envelope(unfinished.envelope)
        if unfinished.code == q.OK:
            unfinished.code, envelope = self._context.admit(self._peer.uid, unfinished.envelope, end)
        if unfinished.code != q.OK:
            self._discard(unfinished)
            self._refuse(tag, unfinished.code)
            return
        self._release_memory(unfinished, unfinished.weight)
        if unfinished.fd < 0:
            self._submit(tag, unfinished.birth, unfinished.qp, envelope, b"".join(unfinished.pieces))
        else:
            self._context.disk.close(unfinished.fd)
            message = AcceptedMessage(
                unfinished.number,
                unfinished.birth,
                self._peer.uid,
                unfinished.qp,
                envelope,
                None,
                unfinished.size,
                unfinished.crc,
            )
            self._context.load(message.weight, self._channel, self._peer.uid)
            self._unanswered += 1
            self._context.store.accept(message, partial(self._answer, tag, message.weight))

    def _abort(self, tag: int, unfinished: PartialMessage, piece: bytes) -> None:
        del self._partial[tag]
        self._drop(unfinished)

    def _drop(self, unfinished: PartialMessage) -> None:
        """Drop an unfinished message."""
        self._context.places.give_back(self._peer.uid, 1)
        self._discard(unfinished)

    def _discard(self, unfinished: PartialMessage) -> None:
        """Release what an unfinished message holds."""
        unfinished.pieces, unfinished.envelope = [], bytearray()
        self._release_memory(unfinished, unfinished.weight)
        if unfinished.number:
            if unfinished.fd >= 0:
                self._context.disk.close(unfinished.fd)
            self._context.store.release_number(unfinished.number)
            unfinished.number, unfinished.fd = 0, -1


_ACTS: dict[bytes, Callable[[SubmissionConnection, int, PartialMessage, bytes], None]] = {
    wire.BODY: SubmissionConnection._body,
    wire.ENVELOPE: SubmissionConnection._envelope,
    wire.COMMIT: SubmissionConnection._commit,
    wire.ABORT: SubmissionConnection._abort,
}
