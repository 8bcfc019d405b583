"""xtext, the encoding of DSN parameters: printable ASCII but + and =; any other byte is + and two hexadecimal digits.

Light.  Fails: never.  Source: RFC 3461 section 4; RFC 6533 section 3.
"""

_XTEXT = bytes(byte for byte in range(33, 127) if byte != 61)
_HEX = b"0123456789ABCDEF"
# With SMTPUTF8 an address may be unencoded UTF-8.
_ADDRESS = _XTEXT + bytes(range(128, 256))


def is_xtext(text: bytes) -> bool:
    """Return whether a text is xtext."""
    return _is_encoded(text, _XTEXT)


def is_xtext_or_utf8(text: bytes) -> bool:
    """Return whether a text is xtext, in which bytes beyond ASCII may stand for themselves."""
    return _is_encoded(text, _ADDRESS)


def decode_xtext(text: bytes) -> bytes:
    """Decode xtext; text that is not xtext is returned unchanged."""
    if b"+" not in text or not is_xtext_or_utf8(text):
        return text
    first, *others = text.split(b"+")
    return first + b"".join([bytes((int(part[:2], 16),)) + part[2:] for part in others])


def encode_xtext(text: bytes) -> bytes:
    """Encode any bytes as xtext."""
    return b"".join([b"%c" % byte if byte in _XTEXT and byte != 43 else b"+%02X" % byte for byte in text])


def _is_encoded(text: bytes, letters: bytes) -> bool:
    if text.translate(None, letters):
        return False
    return all(len(part) > 1 and part[0] in _HEX and part[1] in _HEX for part in text.split(b"+")[1:])
