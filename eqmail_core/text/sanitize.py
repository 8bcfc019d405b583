"""Text from a client that may be shown to people and told to programs: without control characters.  Light.

Terminals obey them, and lines end at some of them.  A tab is none of them here: C lets it stand in an address.
"""

_CONTROLS = bytes(byte for byte in [*range(32), 127] if byte != 9)
_HARMLESS = bytes(63 if byte in _CONTROLS else byte for byte in range(256))


def is_plain(text: bytes) -> bool:
    """Return whether there is no control character in it."""
    return len(text.translate(None, _CONTROLS)) == len(text)


def plain(text: bytes) -> bytes:
    """The text with a question mark in the place of each control character."""
    return text.translate(_HARMLESS)
