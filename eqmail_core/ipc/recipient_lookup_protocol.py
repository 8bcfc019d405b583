"""The protocol that checks whether a recipient is deliverable, on run/lookup.sock.

    server   Q tag u32, recipient             rewritten by `queue.routing`, as in a delivery request of the scheduler
    answer   A tag u32, outcome               K a delivery would begin, D there is no such mailbox, Z try again later

The tag identifies the query and is part of the answer; answers come in any order.
An answer has no text, because a report text may name files.

Source: docs/SECURITY.md.
"""

import struct

QUESTION, ANSWER = b"Q", b"A"

MAX_ADDRESS = 1800
"""Longest recipient in a query, in bytes: SMTP's limit and the prefix that routing adds."""

_HEAD = struct.Struct("<cI")


class LookupProtocolError(ValueError):
    """A packet that does not follow this protocol."""


def question(tag: int, recipient: bytes) -> bytes:
    """Render a Q packet."""
    return _HEAD.pack(QUESTION, tag) + recipient


def split_question(packet: bytes) -> tuple[int, bytes]:
    """Read tag and recipient of a Q packet.  Fails: LookupProtocolError."""
    tag, recipient = _split(packet, QUESTION)
    if len(recipient) > MAX_ADDRESS or b"\0" in recipient or b"@" not in recipient:
        raise LookupProtocolError("no recipient")
    return tag, recipient


def answer(tag: int, letter: bytes) -> bytes:
    """Render an A packet."""
    return _HEAD.pack(ANSWER, tag) + letter


def split_answer(packet: bytes) -> tuple[int, bytes]:
    """Read tag and outcome of an A packet.  Fails: LookupProtocolError."""
    tag, letter = _split(packet, ANSWER)
    if letter not in (b"K", b"D", b"Z"):
        raise LookupProtocolError("no letter")
    return tag, letter


def _split(packet: bytes, kind: bytes) -> tuple[int, bytes]:
    try:
        found, tag = _HEAD.unpack_from(packet)
    except struct.error as error:
        raise LookupProtocolError("short packet") from error
    if found != kind:
        raise LookupProtocolError(f"not a {kind!r}")
    return tag, packet[_HEAD.size :]
