"""Canonical forms of header fields and bodies, and the hash of a body that arrives in pieces.

Messages have LF line ends here; what is hashed has CRLF, as on the wire. A CR without an LF is text.

Source: RFC 6376 section 3.4.
"""

from cryptography.hazmat.primitives import hashes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SIMPLE, RELAXED = b"simple", b"relaxed"
FORMS = (SIMPLE, RELAXED)

_MOST_NEWLINES = 32768


def canonical_field(field: bytes, form: bytes) -> bytes:
    """Return a header field in one form, with CRLF.

    `field`: a field with its LF.
    """
    if form == SIMPLE:
        return field.removesuffix(b"\n").replace(b"\n", b"\r\n") + b"\r\n"
    name, _, value = field.partition(b":")
    return name.rstrip(b" \t\n").lower() + b":" + b" ".join(_words(value)) + b"\r\n"


def _words(value: bytes) -> list[bytes]:
    return [word for word in value.translate(_AS_BLANKS).split(b" ") if word]


# Line ends within a field are folds, and count as the blanks that follow them.
_AS_BLANKS = bytes(32 if byte in b"\t\n" else byte for byte in range(256))
_TAB_AS_BLANK = bytes(32 if byte == 9 else byte for byte in range(256))


class CanonicalBody:
    """The body in one form, from pieces of any size; holds nothing but counts.

    Empty lines at the end are not part of any form.
    """

    __slots__ = ("_after_blank", "_has_text", "_is_relaxed", "_newlines")

    def __init__(self, form: bytes) -> None:
        self._is_relaxed = form == RELAXED
        self._after_blank = False
        # Line ends that count only if text follows them.
        self._newlines = 0
        self._has_text = False

    def feed(self, piece: bytes) -> "Iterator[bytes]":
        """Yield what is certain after one more piece."""
        if self._is_relaxed:
            piece = self._relaxed(piece)
        text = piece.rstrip(b"\n")
        if text:
            while self._newlines > 0:
                yield b"\r\n" * min(self._newlines, _MOST_NEWLINES)
                self._newlines -= _MOST_NEWLINES
            self._newlines = 0
            self._has_text = True
            yield text.replace(b"\n", b"\r\n")
        self._newlines += len(piece) - len(text)

    def finish(self) -> bytes:
        """Return the rest; a last line without a line end gets one."""
        return b"\r\n" if self._has_text or not self._is_relaxed else b""

    def _relaxed(self, piece: bytes) -> bytes:
        """Return a piece with single blanks, and none at line ends; a blank at its end is left for the next one."""
        if self._after_blank:
            piece = b" " + piece
        if b"\t" in piece:
            piece = piece.translate(_TAB_AS_BLANK)
        while b"  " in piece:
            piece = piece.replace(b"  ", b" ")
        piece = piece.replace(b" \n", b"\n")
        self._after_blank = piece.endswith(b" ")
        return piece.removesuffix(b" ")


class BodyHashes:
    """The SHA-256 of one body in each of some forms, computed in one pass."""

    __slots__ = ("_forms",)

    def __init__(self, forms: "Iterable[bytes]") -> None:
        self._forms = {form: (CanonicalBody(form), hashes.Hash(hashes.SHA256())) for form in forms}

    def feed(self, piece: bytes) -> None:
        """Add a piece of the body, after the empty line."""
        for body, digest in self._forms.values():
            for text in body.feed(piece):
                digest.update(text)

    def finish(self) -> dict[bytes, bytes]:
        """Return the hash of each form; nothing may follow."""
        found = {}
        for form, (body, digest) in self._forms.items():
            digest.update(body.finish())
            found[form] = digest.finalize()
        return found
