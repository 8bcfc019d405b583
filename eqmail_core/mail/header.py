"""Message headers: lines collected into fields, up to the beginning of the body.

A field is its first line and all continuation lines, each with its LF. A line that is not a field ends the header.
A message has CRLF line ends if every header line ends in CRLF; its fields are returned with LF.

Source: delivery.md 5.7 (headerbody.c, hfield.c); RFC 5322 section 2.2.
"""

_NAME_BYTES = bytes(range(33, 127))
_BLANKS = b" \t"
_MBOX_LINE = b"MBOX-Line: "


def is_field(line: bytes) -> bool:
    """Return whether a line begins a field: a printable name without blanks, then a colon."""
    name, colon, _ = line.partition(b":")
    name = name.rstrip(_BLANKS)
    return bool(colon and name) and not name.translate(None, _NAME_BYTES)


def field_name(field: bytes) -> bytes:
    """Return the name of a field in lower case."""
    return field.partition(b":")[0].rstrip(_BLANKS).lower()


def field_text(field: bytes) -> bytes:
    """Return the content of a field without leading blanks, with its line ends."""
    return field.partition(b":")[2].lstrip(b" \t\r\n")


class HeaderReader:
    """Reads a message in pieces until its body begins.

    Call `feed` until it returns True, or `end` at the end of the message. `fields` is the header.
    `body` is the part of the body read so far, with the separating empty line before it.
    That line is inserted where a line that is not a field begins the body.
    An mbox line "From ..." among the fields becomes a field of its own.
    `is_crlf`: the line end is CRLF. `fields` have LF anyway; `LfLines` converts `body` and the rest.
    """

    __slots__ = ("_crlf", "_fields", "_pending", "body")

    def __init__(self) -> None:
        self._fields: list[list[bytes]] = []
        self._pending: list[bytes] = []
        # The number of lines that ended in CRLF; -1 after the first that did not.
        self._crlf = 0
        self.body = b""

    @property
    def is_crlf(self) -> bool:
        """Whether there was a line, and every line so far ended in CRLF."""
        return self._crlf > 0

    @property
    def fields(self) -> list[bytes]:
        """The header fields in order."""
        fields = [b"".join(lines) for lines in self._fields]
        return [field.replace(b"\r\n", b"\n") for field in fields] if self.is_crlf else fields

    def feed(self, data: bytes) -> bool:
        """Read a piece; return True when the body has begun, after which no piece may follow."""
        self._pending.append(data)
        if b"\n" not in data:
            return False
        lines = b"".join(self._pending).split(b"\n")
        self._pending = []
        for index, line in enumerate(lines[:-1]):
            if self._crlf >= 0:
                self._crlf = self._crlf + 1 if line.endswith(b"\r") else -1
            if not self._is_header(line + b"\n"):
                separator = b"" if not line or (self.is_crlf and line == b"\r") else b"\n"
                self.body = separator + b"\n".join(lines[index:])
                return True
        self._pending = [lines[-1]]
        return False

    def end(self) -> None:
        """End a message that has no body; a last line without LF gets one."""
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


class LfLines:
    """Converts the CRLF line ends of a message to LF; a CR alone stays."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Convert the next piece; a CR at its end is kept for the next call."""
        data = self._held + data
        self._held = data[-1:] if data.endswith(b"\r") else b""
        return data[: len(data) - len(self._held)].replace(b"\r\n", b"\n")

    def finish(self) -> bytes:
        """Return the byte that was kept, if any."""
        return self._held
