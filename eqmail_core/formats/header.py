"""Message headers: lines gathered into fields, up to where the body begins.

A field is its first line and all continuation lines, each ended by LF.  What is no field ends the header, too.

Source: delivery.md 5.7 (headerbody.c, hfield.c); RFC 5322 section 2.2.
"""

_NAME_BYTES = bytes(range(33, 127))
_BLANKS = b" \t"
_MBOX_LINE = b"MBOX-Line: "


def is_field(line: bytes) -> bool:
    """Tell whether a line begins a header field: a printable name without blanks, then a colon."""
    name, colon, _ = line.partition(b":")
    name = name.rstrip(_BLANKS)
    return bool(colon and name) and not name.translate(None, _NAME_BYTES)


def field_name(field: bytes) -> bytes:
    """The name of a field in lower case."""
    return field.partition(b":")[0].rstrip(_BLANKS).lower()


def field_text(field: bytes) -> bytes:
    """The content of a field without the blanks before it, with its line ends."""
    return field.partition(b":")[2].lstrip(b" \t\r\n")


class HeaderReader:
    """Takes a message in pieces until its body begins.

    `feed` pieces while it says False, then, at the end of the message, `end`.  `fields` are the header; `body` is what
    came of the body so far, with the empty line that separates it (put in where a line that is no field begins it).
    An mbox line "From ..." among the fields becomes a field of its own.
    """

    __slots__ = ("_fields", "_pending", "body")

    def __init__(self) -> None:
        self._fields: list[list[bytes]] = []
        self._pending: list[bytes] = []
        self.body = b""

    @property
    def fields(self) -> list[bytes]:
        """The header fields in order."""
        return [b"".join(lines) for lines in self._fields]

    def feed(self, data: bytes) -> bool:
        """Take a piece; True when the body has begun (then no more pieces belong here)."""
        self._pending.append(data)
        if b"\n" not in data:
            return False
        lines = b"".join(self._pending).split(b"\n")
        self._pending = []
        for index, line in enumerate(lines[:-1]):
            if not self._is_header(line + b"\n"):
                separator = b"\n" if line else b""
                self.body = separator + b"\n".join(lines[index:])
                return True
        self._pending = [lines[-1]]
        return False

    def end(self) -> None:
        """The message is over without a body; a last line without LF gets one."""
        line = b"".join(self._pending)
        if line and not self._is_header(line + b"\n"):
            self.body = b"\n" + line + b"\n"
        self._pending = []

    def _is_header(self, line: bytes) -> bool:
        if self._fields and line[0] in _BLANKS:
            self._fields[-1].append(line)
        elif line.startswith(b"From "):
            self._fields.append([_MBOX_LINE, line])
        elif is_field(line):
            self._fields.append([line])
        else:
            return False
        return True
