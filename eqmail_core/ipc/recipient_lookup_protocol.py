"""The wire by which the SMTP server asks whether a recipient can be delivered to; run/lookup.sock.

    server   Q tag u32, recipient             as the scheduler would order its delivery: rewritten by `policy.routing`
    answer   A tag u32, letter                K a delivery would begin, D there is no such mailbox, Z try again later

A tag names the question, and comes back with the answer; answers come in any order.  The text of a report is not told:
it may speak of files.

Source: architecture "privilege boundaries".
"""

import struct

QUESTION, ANSWER = b"Q", b"A"

MAX_ADDRESS = 1800
"""Longest recipient that is asked about, in bytes: what a client may give, and what routing adds."""

_HEAD = struct.Struct("<cI")


class WireError(ValueError):
    """A packet that is not of this wire."""


def question(tag: int, recipient: bytes) -> bytes:
    """Render a question."""
    return _HEAD.pack(QUESTION, tag) + recipient


def split_question(packet: bytes) -> tuple[int, bytes]:
    """Tag and recipient.  Fails: WireError."""
    tag, recipient = _split(packet, QUESTION)
    if len(recipient) > MAX_ADDRESS or b"\0" in recipient or b"@" not in recipient:
        raise WireError("no recipient")
    return tag, recipient


def answer(tag: int, letter: bytes) -> bytes:
    """Render an answer."""
    return _HEAD.pack(ANSWER, tag) + letter


def split_answer(packet: bytes) -> tuple[int, bytes]:
    """Tag and letter.  Fails: WireError."""
    tag, letter = _split(packet, ANSWER)
    if letter not in (b"K", b"D", b"Z"):
        raise WireError("no letter")
    return tag, letter


def _split(packet: bytes, kind: bytes) -> tuple[int, bytes]:
    try:
        found, tag = _HEAD.unpack_from(packet)
    except struct.error as error:
        raise WireError("short packet") from error
    if found != kind:
        raise WireError(f"not a {kind!r}")
    return tag, packet[_HEAD.size :]
