"""The submission protocol of the queue service, on run/queue.sock.

    client  S tag u32, envelope length u32, envelope, message    a whole submission that fits one packet
            B tag, bytes                                         a piece of a longer message, in order
            E tag, bytes                                         a piece of its envelope, in order
            C tag                                                commit: queue the message
            A tag                                                abort: drop the message
    service R tag, exit code of qmail-queue u8, message number u64, unix time u32, qp u32

The envelope is in the rendered form of `mail.envelope`.
The client chooses the tags, which identify its submissions. Numbers are little-endian.
When a client disconnects, its uncommitted submissions are dropped.

Fails: SubmissionProtocolError for any other packet.
Source: queue.md 3.5 (descriptors 0 and 1 of qmail-queue, its exit codes).
"""

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_WHOLE = 98304
"""Largest envelope plus message that goes in one S packet, in bytes."""

MAX_PIECE = 65536
"""Largest piece of a B or E packet, in bytes."""

WHOLE, BODY, ENVELOPE, COMMIT, ABORT, RESULT = b"S", b"B", b"E", b"C", b"A", b"R"

_WHOLE = struct.Struct("<cII")
_TAGGED = struct.Struct("<cI")
_RESULT = struct.Struct("<cIBQII")


class SubmissionProtocolError(Exception):
    """A packet that does not follow this protocol."""


def whole(tag: int, envelope: bytes, message: bytes) -> bytes:
    """Render an S packet, a whole submission of at most MAX_WHOLE bytes."""
    return _WHOLE.pack(WHOLE, tag, len(envelope)) + envelope + message


def split_whole(packet: bytes) -> tuple[int, bytes, memoryview]:
    """Read tag, envelope and message of an S packet; the message is a view into the packet."""
    try:
        _, tag, length = _WHOLE.unpack_from(packet)
    except struct.error as error:
        raise SubmissionProtocolError("short packet") from error
    start = _WHOLE.size + length
    if start > len(packet):
        raise SubmissionProtocolError("envelope longer than its packet")
    return tag, packet[_WHOLE.size : start], memoryview(packet)[start:]


def tagged(kind: bytes, tag: int, piece: bytes = b"") -> bytes:
    """Render a B, E, C or A packet."""
    return _TAGGED.pack(kind, tag) + piece


def pieces(kind: bytes, tag: int, data: bytes) -> "Iterator[bytes]":
    """Render the B or E packets of a text of any length, one at a time."""
    for start in range(0, len(data), MAX_PIECE):
        yield tagged(kind, tag, data[start : start + MAX_PIECE])


def submission(tag: int, envelope: bytes, message: bytes) -> "Iterator[bytes]":
    """Render the packets of a message that is in memory, one at a time."""
    if len(envelope) + len(message) <= MAX_WHOLE:
        yield whole(tag, envelope, message)
        return
    yield from pieces(BODY, tag, message)
    yield from pieces(ENVELOPE, tag, envelope)
    yield tagged(COMMIT, tag)


def split_tagged(packet: bytes) -> tuple[bytes, int, bytes]:
    """Read kind, tag and piece of a B, E, C or A packet."""
    try:
        kind, tag = _TAGGED.unpack_from(packet)
    except struct.error as error:
        raise SubmissionProtocolError("short packet") from error
    return kind, tag, packet[_TAGGED.size :]


def result(tag: int, code: int, number: int, when: int, qp: int) -> bytes:
    """Render an R packet, the answer to a submission; `when` in seconds since the epoch."""
    return _RESULT.pack(RESULT, tag, code, number, when, qp)


def split_result(packet: bytes) -> tuple[int, int, int, int, int]:
    """Read tag, exit code, message number, time and qp of an R packet."""
    try:
        kind, tag, code, number, when, qp = _RESULT.unpack(packet)
    except struct.error as error:
        raise SubmissionProtocolError("not a result") from error
    if kind != RESULT:
        raise SubmissionProtocolError("not a result")
    return tag, code, number, when, qp
