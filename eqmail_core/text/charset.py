"""The charset of a text that contains untrusted parts, as far as its bytes show.

Source: RFC 3629 (UTF-8); RFC 1428 (unknown-8bit).
"""

from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator

_Utf8 = getincrementaldecoder("utf-8")


def charset_of(pieces: Iterable[bytes]) -> bytes:
    """Return the charset of a text in pieces: b"" for ASCII, utf-8, else unknown-8bit."""
    decoder = None
    try:
        for piece in pieces:
            if decoder is not None or not piece.isascii():
                decoder = decoder or _Utf8()
                decoder.decode(piece)
        if decoder is not None:
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return b"unknown-8bit"
    return b"utf-8" if decoder is not None else b""


def as_utf8(texts: Iterable[bytes]) -> Iterator[bytes]:
    """Generate each text as UTF-8; invalid bytes become replacement characters."""
    for text in texts:
        yield text if text.isascii() else text.decode("utf-8", "replace").encode()
