"""The protocol between queue service and scheduler, on run/queue.sock.

The scheduler connects and sends H first.

    scheduler  H serial u64 ...     hello, first packet: the messages of earlier admissions that it still holds
               F serial u64 ...     finished: every recipient is done and durable; delete the message
               W serial u64         the message must wait: write mess/N now; the scheduler writes the rest
               P serial u64         placed: info, local and remote are on the disk; release the journal's copy
               X name NUL           qmail-clean's request: foop/S/N or todo/S/N
    queue      N serial u64, number u64, size u64, birth u32, uid u32, qp u32, envelope   a message and its descriptor
               W serial u64, ok u8  answer to W: mess/N exists and is on the disk
               X answer u8          qmail-clean's answer: + ! x, in the order of the requests

A serial is never reused during the life of a queue; a number N is an inode number and is reused.
The descriptor is a sealed memfd or the file mess/N. Its offset is shared: read from offset 0 with pread.
The envelope is F sender NUL, then T recipient NUL for each recipient.
An envelope that does not fit a packet goes through todo/ instead.

The scheduler marks a message as placed by info/N, which it writes last: local/N and remote/N are on the disk before.
It sends P when info/N is on the disk too. A message admitted while its info/N exists was placed before a crash:
the scheduler answers P and continues from its files. The same holds if the queue service died after it answered W.

Fails: AdmissionProtocolError for any other packet.
Source: docs/adr/0003-journal-first.md; queue.md 3.6.
"""

import struct

HELLO, FINISHED, WAITS, PLACED, CLEAN, ADMIT = b"H", b"F", b"W", b"P", b"X", b"N"

MAX_ENVELOPE = 65536
"""Longest envelope of an N packet, in bytes."""

_ADMISSION = struct.Struct("<cQQQIII")
_SERIAL = struct.Struct("<Q")
_ANSWER = struct.Struct("<cQB")


MAX_REQUEST = 100
"""Longest qmail-clean request, in bytes; qmail-clean has the same limit."""


class AdmissionProtocolError(Exception):
    """A packet that does not follow this protocol."""


class Admission:
    """A message that the queue service passes to the scheduler."""

    __slots__ = ("birth", "envelope", "number", "qp", "serial", "size", "uid")

    def __init__(self, serial: int, number: int, size: int, birth: int, uid: int, qp: int, envelope: bytes) -> None:
        self.serial = serial
        self.number = number
        self.size = size
        self.birth = birth
        self.uid = uid
        self.qp = qp
        self.envelope = envelope


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
