"""The files local/N and remote/N: recipients of one channel, each with a mark, T to do or D done.

A mark is overwritten in place at its record's offset; records never move. The same grammar, with other letters, is
used for the envelopes in todo/N and in ipc/admission_protocol.py.

Source: queue.md 3.3.
"""

from collections.abc import Iterable, Iterator

MARK_TODO = 84
"""Mark of a recipient that is still to be tried: the byte T."""

MARK_DONE = 68
"""Mark of a recipient that is finished: the byte D."""

SENDER = 70
"""Letter of the sender in an envelope: the byte F."""


def records(chunks: Iterable[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Yield offset, first byte and rest of each NUL-terminated record.

    The file is read in pieces.

    What follows the last NUL is no record; an empty record has the first byte 0.
    Fails: as `chunks` does.
    """
    offset = 0
    rest = b""
    for chunk in chunks:
        pieces = (rest + chunk if rest else chunk).split(b"\0")
        rest = pieces.pop()
        for record in pieces:
            yield offset, record[0] if record else 0, record[1:]
            offset += len(record) + 1


def numbered(recipients: Iterable[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Yield what `records` would yield for a list of these recipients, none of them done."""
    offset = 0
    for recipient in recipients:
        yield offset, MARK_TODO, recipient
        offset += len(recipient) + 2


def render_list(recipients: Iterable[bytes], done: Iterable[int] = ()) -> bytes:
    """Return the list file of these recipients; `done`: the offsets of the finished ones."""
    text = bytearray()
    for recipient in recipients:
        text += b"T%b\0" % recipient
    for offset in done:
        text[offset] = MARK_DONE
    return bytes(text)
