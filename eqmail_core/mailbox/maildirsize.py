"""The format of maildirsize: the quota of a Maildir, and the changes since the last count.

    52428800S,1000C         the first line: bytes, messages; either may be missing
    1048576 42              every other line: bytes and messages, negative for removals

Every program that delivers a message appends a line.  The size of a message is in its file name, after ",S=".

Source: the Maildir++ description of Courier.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    Usage = tuple[int, int]
    """Bytes and messages."""

MAX_BYTES = 5120
"""A file longer than this, in bytes, must be counted anew."""

READ_BYTES = 65536
"""Bytes of a file that are read; a longer file is counted anew in any case."""

MAX_DIGITS = 18
"""A number with more digits is invalid: no disk has so many bytes."""


def parse(text: bytes) -> "tuple[Usage, Usage]":
    """The quota (0: no limit) and the usage.  Invalid words are ignored.  Fails: never."""
    first, *lines = text.split(b"\n")
    words = [(word[-1:], _number(word[:-1])) for word in first.strip().split(b",")]
    limits = {unit: most for unit, most in words if most is not None and most >= 0}
    size = count = 0
    for line in lines:
        numbers = [_number(word) for word in line.split(maxsplit=2)]
        if len(numbers) == 2 and numbers[0] is not None and numbers[1] is not None:
            size += numbers[0]
            count += numbers[1]
    return (limits.get(b"S", 0), limits.get(b"C", 0)), (size, count)


def _number(word: bytes) -> int | None:
    """A decimal number with at most one minus sign; None for everything else."""
    digits = word.removeprefix(b"-")
    return int(word) if digits.isdigit() and len(digits) <= MAX_DIGITS else None


def render(first_line: bytes, used: "Usage") -> bytes:
    """A file with the result of a fresh count."""
    return first_line + b"\n" + line(used)


def line(change: "Usage") -> bytes:
    """One line to append."""
    return b"%d %d\n" % change


def fits(quota: "Usage", used: "Usage", size: int) -> bool:
    """Tell whether one more message of `size` bytes is within the quota."""
    return all(not most or has + more <= most for most, has, more in zip(quota, used, (size, 1), strict=True))


def sized(name: bytes, size: int) -> bytes:
    """A file name that contains the size."""
    return b"%b,S=%d" % (name, size)


def size_in(name: bytes) -> int | None:
    """The size in a file name; None if there is none."""
    found = _number(name.partition(b":")[0].partition(b",S=")[2].partition(b",")[0])
    return None if found is None or found < 0 else found


def is_trashed(name: bytes) -> bool:
    """Tell whether a mail reader has marked the message as deleted, so that it does not count."""
    return b"T" in name.partition(b":2,")[2]
