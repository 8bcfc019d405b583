"""The header of a message, edited field by field; unchanged fields keep their bytes.

Source: RFC 5322 section 2.2; libmilter of Sendmail 8.17 (smfi_addheader, smfi_chgheader, smfi_insheader).
"""

from eqmail_core.mail.header import field_name, is_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# A line that mail programs put before a message in an mbox. It is not a field, and no field may precede it.
_MBOX_LINES = (b"From ", b">From ")


class EditedHeader:
    """The fields of a header in order, each with its LF.

    `text`: the beginning of a message, which contains the whole header.
    `size`: length of the header in `text`, in bytes; the empty line and the body follow.
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
        """Append a field; the value begins with the blank after the colon."""
        self._has_changed = True
        self.fields.append(_field(name, value))

    def insert(self, index: int, name: bytes, value: bytes) -> None:
        """Insert a field before the field with this number, or append it if there is none.

        The first field has number 1. Number 0 is the server's own Received field, which no field precedes.
        """
        self._has_changed = True
        self.fields.insert(max(0, index - 1), _field(name, value))

    def remove(self, is_unwanted: "Callable[[bytes], bool]") -> None:
        """Remove every field for which `is_unwanted` holds."""
        kept = [field for field in self.fields if not is_unwanted(field)]
        if len(kept) < len(self.fields):
            self._has_changed = True
            self.fields = kept

    def change(self, index: int, name: bytes, value: bytes) -> None:
        """Replace the value of the `index`th field of this name (from 1); b"" deletes the field.

        A field that does not exist is appended.
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
        """Return the edited header.

        `body_start`: the beginning of the bytes that follow it, b"" if there are none.
        A changed header gets a separating empty line if the body came without one.
        """
        needs_line = self._has_changed and body_start[:1] not in (b"", b"\n")
        return self._preamble + b"".join(self.fields) + (b"\n" if needs_line else b"")

    def _gather(self, lines: list[bytes]) -> None:
        if lines:
            self.fields.append(b"".join(lines))


def _field(name: bytes, value: bytes) -> bytes:
    return b"%b:%b\n" % (name, value)
