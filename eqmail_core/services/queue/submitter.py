"""One who brings messages: queue_wire's service end, with the limits that a service for everybody needs.

Who it is says the kernel, and so the Received line and the todo file say it, too.

Fails: a packet that does not belong on the wire ends the connection; what is wrong with a message is an exit code of
qmail-queue.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Protocol
from zlib import crc32

from eqmail_core.formats.invoked import invoked_line
from eqmail_core.formats.todo import scan_envelope
from eqmail_core.formats.wishes import with_wishes
from eqmail_core.net.channel import Channel
from eqmail_core.protocols import queue_wire as wire
from eqmail_core.store.disk import Disk
from eqmail_core.store.keeper import Keeper
from eqmail_core.store.message import Message
from eqmail_core.values import queue_result as q
from eqmail_core.values.identity import Credentials

SMALL = 65536
"""Largest body that goes through memory and journal, in bytes; a longer one is written to the file of its number."""

MAX_ENVELOPE = 16 << 20
"""Longest envelope taken at all, in bytes; as if memory were short."""

MAX_OPEN = 1024
"""Most unfinished messages of one connection."""

DEATH_S = 86400


class Office(Protocol):
    """What all submitters share."""

    disk: Disk
    keeper: Keeper

    def now(self) -> int:
        """Seconds since the epoch."""

    def date(self, now: int) -> bytes:
        """`now` as in a Received line."""

    def next_qp(self) -> int:
        """A running number for one of many messages of one process."""

    def load(self, size: int, channel: Channel) -> None:
        """So many more bytes wait for the disk (or fewer, when negative); the channel may have to wait."""


class _Open:
    """A message that is not complete."""

    __slots__ = ("birth", "code", "crc", "envelope", "fd", "number", "pieces", "qp", "size")

    def __init__(self, birth: int, qp: int, received: bytes) -> None:
        self.birth = birth
        self.qp = qp
        self.code = q.OK
        self.pieces: list[bytes] = [received]
        self.size = len(received)
        self.envelope = bytearray()
        self.fd = -1
        self.number = 0
        self.crc = 0


class Submitter:
    """A connection of someone with these credentials; `how` is what its Received lines say."""

    def __init__(self, office: Office, channel: Channel, peer: Credentials, how: bytes) -> None:
        self._office = office
        self._channel = channel
        self._peer = peer
        self._how = how
        self._open: dict[int, _Open] = {}
        self._has_submitted = False

    def on_packet(self, packet: bytes) -> None:
        """Take a packet."""
        try:
            if packet[:1] == wire.WHOLE:
                self._whole(packet)
            else:
                self._piece(*wire.split_tagged(packet))
        except wire.WireError:
            self._channel.close()

    def on_close(self) -> None:
        """The peer has gone: forget what is not complete."""
        for it in self._open.values():
            self._forget(it)
        self._open.clear()

    def expire(self, before: int) -> None:
        """Give up messages that were begun before this second."""
        for tag, it in list(self._open.items()):
            if it.birth < before:
                del self._open[tag]
                self._forget(it)
                self._refuse(tag, q.TIMEOUT)

    def _whole(self, packet: bytes) -> None:
        tag, envelope, message = wire.split_whole(packet)
        if len(message) > SMALL:
            self._piece(wire.BODY, tag, bytes(message))
            self._piece(wire.ENVELOPE, tag, envelope)
            self._piece(wire.COMMIT, tag, b"")
            return
        code, end = scan_envelope(envelope)
        if code != q.OK:
            self._refuse(tag, code)
            return
        now = self._office.now()
        qp = self._next_qp()
        self._submit(tag, now, qp, with_wishes(envelope, end), b"".join((self._received(qp, now), message)))

    def _submit(self, tag: int, birth: int, qp: int, envelope: bytes, body: bytes) -> None:
        try:
            number = self._office.keeper.take_number()
        except OSError:
            self._refuse(tag, q.WRITE_ERROR)
            return
        message = Message(number, birth, self._peer.uid, qp, envelope, body, len(body))
        self._office.load(message.weight, self._channel)
        self._office.keeper.keep(message, partial(self._answer, tag, message.weight))

    def _answer(self, tag: int, weight: int, code: int, message: Message) -> None:
        self._channel.send(wire.result(tag, code, message.number if code == q.OK else 0, message.birth, message.qp))
        self._office.load(-weight, self._channel)

    def _refuse(self, tag: int, code: int) -> None:
        self._channel.send(wire.result(tag, code, 0, 0, 0))

    def _received(self, qp: int, now: int) -> bytes:
        return invoked_line(qp, self._how, self._office.date(now))

    def _next_qp(self) -> int:
        """The pid for the first message, as qmail-queue has it; who brings more is a service, and gets numbers."""
        if self._has_submitted:
            return self._office.next_qp()
        self._has_submitted = True
        return self._peer.pid

    # Messages in pieces.

    def _piece(self, kind: bytes, tag: int, piece: bytes) -> None:
        it = self._open.get(tag)
        if it is None:
            if kind == wire.ABORT:
                return
            if len(self._open) >= MAX_OPEN:
                self._channel.close()
                return
            now, qp = self._office.now(), self._next_qp()
            it = self._open[tag] = _Open(now, qp, self._received(qp, now))
        act = _ACTS.get(kind)
        if act is None:
            raise wire.WireError("unknown packet")
        act(self, tag, it, piece)

    def _body(self, tag: int, it: _Open, piece: bytes) -> None:
        if it.code != q.OK:
            return
        it.pieces.append(piece)
        it.size += len(piece)
        if it.size > SMALL:
            try:
                self._write(it)
            except OSError:
                it.code = q.WRITE_ERROR
                self._forget(it)

    def _write(self, it: _Open) -> None:
        """What has come so far goes to the file of the message's number."""
        if it.fd < 0:
            it.number = self._office.keeper.take_number()
            it.fd = self._office.disk.open(self._office.keeper.path_of(it.number), os.O_WRONLY | os.O_TRUNC)
        for piece in it.pieces:
            self._office.disk.write(it.fd, piece)
            it.crc = crc32(piece, it.crc)
        it.pieces = []

    def _envelope(self, tag: int, it: _Open, piece: bytes) -> None:
        if len(it.envelope) + len(piece) > MAX_ENVELOPE:
            it.code = q.NO_MEMORY
            self._forget(it)
        elif it.code == q.OK:
            it.envelope += piece

    def _commit(self, tag: int, it: _Open, piece: bytes) -> None:
        del self._open[tag]
        end = 0
        if it.code == q.OK:
            it.code, end = scan_envelope(it.envelope)
        if it.code != q.OK:
            self._forget(it)
            self._refuse(tag, it.code)
            return
        envelope = with_wishes(it.envelope, end)
        if it.fd < 0:
            self._submit(tag, it.birth, it.qp, envelope, b"".join(it.pieces))
        else:
            self._office.disk.close(it.fd)
            message = Message(it.number, it.birth, self._peer.uid, it.qp, envelope, None, it.size, it.crc)
            self._office.load(message.weight, self._channel)
            self._office.keeper.keep(message, partial(self._answer, tag, message.weight))

    def _abort(self, tag: int, it: _Open, piece: bytes) -> None:
        del self._open[tag]
        self._forget(it)

    def _forget(self, it: _Open) -> None:
        """Let go of what an unfinished message holds."""
        it.pieces, it.envelope = [], bytearray()
        if it.number:
            if it.fd >= 0:
                self._office.disk.close(it.fd)
            self._office.keeper.give_up(it.number)
            it.number, it.fd = 0, -1


_ACTS: dict[bytes, Callable[[Submitter, int, _Open, bytes], None]] = {
    wire.BODY: Submitter._body,
    wire.ENVELOPE: Submitter._envelope,
    wire.COMMIT: Submitter._commit,
    wire.ABORT: Submitter._abort,
}
