"""Removes control characters from client text before it is shown or logged.  Light.

Terminals execute control characters, and some end a line. A tab does not count here: C allows it in an address.
"""

_CONTROLS = bytes(byte for byte in [*range(32), 127] if byte != 9)
_HARMLESS = bytes(63 if byte in _CONTROLS else byte for byte in range(256))


def is_plain(text: bytes) -> bool:
    """Return whether the text has no control characters."""
    return len(text.translate(None, _CONTROLS)) == len(text)


def plain(text: bytes) -> bytes:
    """Replace each control character by a question mark."""
    return text.translate(_HARMLESS)
