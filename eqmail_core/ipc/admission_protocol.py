"""The protocol between queue service and scheduler, on run/queue.sock.

The scheduler connects and sends H first.

    scheduler  H serial u64 ...     hello, first packet: the messages of earlier admissions that it still holds
               F serial u64 ...     finished: every recipient is done and durable; delete the message
               W serial u64         the message must wait: write mess/N now; the scheduler writes the rest
               P serial u64         placed: info, local and remote are on the disk; release the journal's copy
               X name NUL           qmail-clean's request: foop/S/N or todo/S/N
               B serial u64, text   a piece of the reports of failed recipients, before D; of a shared queue only
               D serial u64, due u64 u64, length u32, warned u8, done, replies
                                    deferred: the next attempt of each channel, 0 where no recipient is left; of a
                                    shared queue only
    queue      N serial u64, number u64, size u64, birth u32, uid u32, qp u32, envelope   a message and its descriptor
               W serial u64, ok u8  answer to W: mess/N exists and is on the disk; answer to D: it is given back (1), or
                                    is not this node's (0)
               X answer u8          qmail-clean's answer: + ! x, in the order of the requests
               R serial u64, number u64, size u64, birth u32, uid u32, qp u32, attempts u32, due u64 u64, length u32,
                 length u32, warned u8, done, replies, envelope
                                    a message of earlier attempts, of a shared queue; behind its body the descriptor
                                    has the reports of failed recipients
               L state u8, epoch u64
                                    the lease of this node: L lasts, P paused (start nothing), X lost (drop everything)

A serial is never reused during the life of a queue; a number N is an inode number and is reused.
The descriptor is a sealed memfd or the file mess/N. Its offset is shared: read from offset 0 with pread.
The envelope is F sender NUL, then T recipient NUL for each recipient.
An envelope that does not fit a packet goes through todo/ instead.

In a shared queue a message is never placed: what has to wait is deferred, and comes back as R, perhaps elsewhere.
`replies` has the failed attempts of each recipient (queue/format/replies.py); `warned`: the sender knows of the delay.
`done` has a bit for each recipient of the envelope, the lowest bit of a byte first.

The scheduler marks a message as placed by info/N, which it writes last: local/N and remote/N are on the disk before.
It sends P when info/N is on the disk too. A message admitted while its info/N exists was placed before a crash:
the scheduler answers P and continues from its files. The same holds if the queue service died after it answered W.

Fails: AdmissionProtocolError for any other packet.
Source: docs/adr/0003-journal-first.md; queue.md 3.6.
"""

import struct
from collections.abc import Collection
from typing import NamedTuple

from eqmail_core.mail.message_identity import MessageIdentity

HELLO, FINISHED, WAITS, PLACED, CLEAN, ADMIT = b"H", b"F", b"W", b"P", b"X", b"N"
REPORTS, DEFER, RESUME, LEASE = b"B", b"D", b"R", b"L"

LEASED, PAUSED, LOST = b"L", b"P", b"X"
"""States of the lease."""

MAX_REPORTS = 60000
"""Bytes of reports in one packet."""

MAX_ENVELOPE = 65536
"""Longest envelope of an N packet, in bytes."""

_ADMISSION = struct.Struct("<cQQQIII")
_RESUME = struct.Struct("<cQQQIIIIQQIIB")
_DEFER = struct.Struct("<cQQQIB")
_SERIAL = struct.Struct("<Q")
_ANSWER = struct.Struct("<cQB")
_LEASE = struct.Struct("<ccQ")


MAX_REQUEST = 100
"""Longest qmail-clean request, in bytes; qmail-clean has the same limit."""


class AdmissionProtocolError(Exception):
    """A packet that does not follow this protocol."""


class EarlierAttempts(NamedTuple):
    """What earlier attempts left of a message: their number, when each channel is due (None: nothing is left), bits."""

    attempts: int
    due: tuple[int | None, int | None]
    done: bytes
    replies: bytes
    is_warned: bool = False


class Admission:
    """A message that the queue service passes to the scheduler; `earlier`: None for a new one."""

    __slots__ = ("birth", "earlier", "envelope", "number", "qp", "serial", "size", "uid")

    def __init__(self, serial: int, number: int, size: int, birth: int, uid: int, qp: int, envelope: bytes) -> None:
        self.serial = serial
        self.number = number
        self.size = size
        self.birth = birth
        self.uid = uid
        self.qp = qp
        self.envelope = envelope
        self.earlier: EarlierAttempts | None = None

    @property
    def identity(self) -> MessageIdentity:
        """Return which message it is."""
        return MessageIdentity.accepted(self.number, self.birth, self.serial)


def pack_done(indexes: Collection[int]) -> bytes:
    """Return the bits of finished recipients; empty if there are none."""
    bits = bytearray((max(indexes, default=-1) + 8) // 8)
    for index in indexes:
        bits[index >> 3] |= 1 << (index & 7)
    return bytes(bits)


def unpack_done(bits: bytes) -> Collection[int]:
    """Return the indexes of finished recipients."""
    return {index for index in range(len(bits) * 8) if bits[index >> 3] >> (index & 7) & 1}


def resumption(admission: Admission, earlier: EarlierAttempts) -> bytes:
    """Render an R packet."""
    local, remote = earlier.due
    head = _RESUME.pack(
        RESUME,
        admission.serial,
        admission.number,
        admission.size,
        admission.birth,
        admission.uid,
        admission.qp,
        earlier.attempts,
        local or 0,
        remote or 0,
        len(earlier.done),
        len(earlier.replies),
        earlier.is_warned,
    )
    return b"".join((head, earlier.done, earlier.replies, admission.envelope))


def split_resumption(packet: bytes) -> Admission:
    """Read an R packet."""
    try:
        _, serial, number, size, birth, uid, qp, attempts, local, remote, done, replies, warned = _RESUME.unpack_from(
            packet
        )
    except struct.error as error:
        raise AdmissionProtocolError("short resumption") from error
    start = _RESUME.size + done
    envelope = packet[start + replies :]
    if envelope[:1] != b"F" or b"\0" not in envelope:
        raise AdmissionProtocolError("no envelope")
    admission = Admission(serial, number, size, birth, uid, qp, envelope)
    admission.earlier = EarlierAttempts(
        attempts,
        (local or None, remote or None),
        packet[_RESUME.size : start],
        packet[start : start + replies],
        bool(warned),
    )
    return admission


class Deferred(NamedTuple):
    """A message that has to wait; fields as in EarlierAttempts."""

    serial: int
    due: tuple[int | None, int | None]
    done: bytes
    replies: bytes
    is_warned: bool = False


def deferral(deferred: Deferred) -> bytes:
    """Render a D packet."""
    local, remote = deferred.due
    head = _DEFER.pack(DEFER, deferred.serial, local or 0, remote or 0, len(deferred.done), deferred.is_warned)
    return b"".join((head, deferred.done, deferred.replies))


def split_deferral(packet: bytes) -> Deferred:
    """Read a D packet."""
    try:
        _, serial, local, remote, done, warned = _DEFER.unpack_from(packet)
    except struct.error as error:
        raise AdmissionProtocolError("short deferral") from error
    start = _DEFER.size + done
    return Deferred(serial, (local or None, remote or None), packet[_DEFER.size : start], packet[start:], bool(warned))


def reports(serial: int, text: bytes) -> list[bytes]:
    """Render the B packets of a text."""
    head = REPORTS + _SERIAL.pack(serial)
    return [head + text[start : start + MAX_REPORTS] for start in range(0, len(text), MAX_REPORTS)]


def split_reports(packet: bytes) -> tuple[int, bytes]:
    """Read serial and text of a B packet."""
    try:
        (serial,) = _SERIAL.unpack_from(packet, 1)
    except struct.error as error:
        raise AdmissionProtocolError("short reports") from error
    return serial, packet[1 + _SERIAL.size :]


def admission(admission: Admission) -> bytes:
    """Render an N packet."""
    return (
        _ADMISSION.pack(
            ADMIT, admission.serial, admission.number, admission.size, admission.birth, admission.uid, admission.qp
        )
        + admission.envelope
    )


def split_admission(packet: bytes) -> Admission:
    """Read an N packet."""
    try:
        _, serial, number, size, birth, uid, qp = _ADMISSION.unpack_from(packet)
    except struct.error as error:
        raise AdmissionProtocolError("short admission") from error
    envelope = packet[_ADMISSION.size :]
    if envelope[:1] != b"F" or b"\0" not in envelope:
        raise AdmissionProtocolError("no envelope")
    return Admission(serial, number, size, birth, uid, qp, envelope)


def serials(kind: bytes, numbers: list[int]) -> bytes:
    """Render an H, F, W or P packet with at most 8 000 serials."""
    return kind + struct.pack(f"<{len(numbers)}Q", *numbers)


def split_serials(packet: bytes) -> tuple[int, ...]:
    """Read the serials of an H, F, W or P packet."""
    try:
        return struct.unpack(f"<{(len(packet) - 1) // _SERIAL.size}Q", packet[1:])
    except struct.error as error:
        raise AdmissionProtocolError("serials cut short") from error


def spill_request(serial: int, ok: bool) -> bytes:
    """Render the queue service's answer to W."""
    return _ANSWER.pack(WAITS, serial, ok)


def lease(state: bytes, epoch: int) -> bytes:
    """Render an L packet."""
    return _LEASE.pack(LEASE, state, epoch)


def split_lease(packet: bytes) -> tuple[bytes, int]:
    """Read state and epoch of an L packet."""
    try:
        _, state, epoch = _LEASE.unpack(packet)
    except struct.error as error:
        raise AdmissionProtocolError("not a lease") from error
    return state, epoch


def split_clean(packet: bytes) -> bytes:
    """Read the request of an X packet, without its NUL."""
    request = packet[1:].partition(b"\0")[0]
    if len(request) > MAX_REQUEST:
        raise AdmissionProtocolError("long request")
    return request


def split_spill_request(packet: bytes) -> tuple[int, bool]:
    """Read serial and success of the queue service's answer to W."""
    try:
        _, serial, ok = _ANSWER.unpack(packet)
    except struct.error as error:
        raise AdmissionProtocolError("not an answer") from error
    return serial, bool(ok)
