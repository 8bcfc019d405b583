"""In which characters a text is written that strangers have a share in, as far as its bytes tell.

Source: RFC 3629 (UTF-8); RFC 1428 (unknown-8bit).
"""

from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator

_Utf8 = getincrementaldecoder("utf-8")


def charset_of(pieces: Iterable[bytes]) -> bytes:
    """The charset of a text in pieces: b"" for ASCII, utf-8, or unknown-8bit where it is neither."""
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
    """Each text as it is where it is UTF-8; else with replacement characters for what is not."""
    for text in texts:
        yield text if text.isascii() else text.decode("utf-8", "replace").encode()
