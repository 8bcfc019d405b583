"""The header of a whole message, to be changed field by field; what is not changed keeps its bytes.

Source: RFC 5322 section 2.2; libmilter of Sendmail 8.17 (smfi_addheader, smfi_chgheader, smfi_insheader).
"""

from eqmail_core.mail.header import field_name, is_field

# A line that mail programs put before a message in an mbox; it is no field, and no field may come before it.
_MBOX_LINES = (b"From ", b">From ")


class EditedHeader:
    """Fields in order, each with its LF; made from the beginning of a message, which holds its header wholly.

    `size`: how many bytes of the message it was made of; the body, with the empty line before it, follows.
    """

    __slots__ = ("_has_changed", "_preamble", "fields", "size")

    def __init__(self, text: bytes) -> None:
        self._has_changed = False
        self._preamble = b""
        self.fields: list[bytes] = []
        start = 0
        if text.startswith(_MBOX_LINES):
            start = text.find(b"\n") + 1 or len(text)
            self._preamble = text[:start]
        lines: list[bytes] = []
        while start < len(text):
            end = text.find(b"\n", start) + 1 or len(text)
            line = text[start:end]
            if lines and line[:1] in (b" ", b"\t"):
                lines.append(line)
            elif is_field(line):
                self._gather(lines)
                lines = [line]
            else:
                break
            start = end
        self._gather(lines)
        self.size = start

    def add(self, name: bytes, value: bytes) -> None:
        """Put a field behind all others; the value begins with the blank after the colon."""
        self._has_changed = True
        self.fields.append(_field(name, value))

    def insert(self, index: int, name: bytes, value: bytes) -> None:
        """Put a field before the one with this number, behind all where there is none.

        The first has number 1: 0 is the place of our own Received field, which nothing comes before.
        """
        self._has_changed = True
        self.fields.insert(max(0, index - 1), _field(name, value))

    def change(self, index: int, name: bytes, value: bytes) -> None:
        """Give the field that is the `index`th of its name (from 1) another value, b"": delete it.

        Where there is none it is added.
        """
        wanted = name.lower()
        places = [place for place, field in enumerate(self.fields) if field_name(field) == wanted]
        if max(1, index) <= len(places):
            self._has_changed = True
            place = places[max(1, index) - 1]
            self.fields[place : place + 1] = [_field(name, value)] if value else []
        elif value:
            self.add(name, value)

    def render(self, body_start: bytes) -> bytes:
        """The header as it is now; `body_start` is the beginning of what follows, b"" if nothing does.

        A changed header is divided from a body that came without an empty line before it.
        """
        needs_line = self._has_changed and body_start[:1] not in (b"", b"\n")
        return self._preamble + b"".join(self.fields) + (b"\n" if needs_line else b"")

    def _gather(self, lines: list[bytes]) -> None:
        if lines:
            self.fields.append(b"".join(lines))


def _field(name: bytes, value: bytes) -> bytes:
    return b"%b:%b\n" % (name, value)
