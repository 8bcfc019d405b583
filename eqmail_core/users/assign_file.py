"""users/assign: the user of each local part, and the database records of the file.

A line is =LOCAL:user:uid:gid:home:dash:ext: or, for all local parts that begin with PREFIX, +PREFIX:...
A line that begins with a dot, with or without LF, ends the file.

Source: delivery.md 5.1 (qmail-newu.c); qmail-users(5).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FIELDS = 6
END = b".\n"


class BadAssign(Exception):
    """Text that is not a valid assign file; `line` is the number of the first invalid line."""

    def __init__(self, line: int) -> None:
        super().__init__(f"line {line}")
        self.line = line


def database_records(lines: "Iterable[bytes]") -> "Iterator[tuple[bytes, bytes]]":
    """Generate the database records for the lines of an assign file, in order.

    `lines`: each with its LF.
    The last record, under the empty key, lists the last characters of all wildcard prefixes.
    Fails: BadAssign, when the iteration reaches an invalid line or an end without a dot.
    """
    endings = b""
    number = 0
    for number, line in enumerate(lines, 1):
        if line.startswith(b"."):
            break
        head, _, rest = line.partition(b":")
        fields = rest.split(b":", FIELDS)
        if len(fields) <= FIELDS or not head or b"\0" in line or not line.endswith(b"\n"):
            raise BadAssign(number)
        name = head[1:]
        if head.startswith(b"+"):
            if name and name[-1:] not in endings:
                endings += name[-1:]
            key = b"!" + name.lower()
        else:
            key = b"!" + name.lower() + b"\0"
        yield key, b"\0".join(fields[:FIELDS])
    else:
        raise BadAssign(number + 1)
    yield b"", endings


def simple_line(local: bytes, fields: "Sequence[bytes]") -> bytes:
    """Return the line that assigns exactly `local` to the user with these six fields."""
    return b"=%b:%b:\n" % (local, b":".join(fields))


def wildcard_line(prefix: bytes, fields: "Sequence[bytes]") -> bytes:
    """Return the line that assigns all local parts with `prefix` to the user with these fields."""
    return b"+%b:%b:\n" % (prefix, b":".join(fields))
