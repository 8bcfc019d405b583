"""Finds invisible bytes in control and .qmail files, and shows them.

Programs read them as part of a name or a path, as C does. The commands that check files report them.
"""

import re

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MAX = 3
_CARRIAGE_RETURNS = re.compile(rb"\r+(?=\n|\Z)")


def visible(data: bytes) -> str:
    """Return printable UTF-8 text, with Python escapes such as \\r, \\u200b and \\xe4."""
    text = data.decode("utf-8", "surrogateescape")
    return text if text.isprintable() else "".join(map(_spelled, text))


def oddities(text: bytes) -> list[tuple[int, str]]:
    """Return what an editor does not show: line numbers, 0 for the whole file, and descriptions.

    NUL, which no line may contain, is not included.
    """
    found = []
    if text.startswith(BYTE_ORDER_MARK):
        found.append((0, "begins with a byte order mark (UTF-8 of Windows), which counts as part of the first line"))
    ended = [number for number, line in enumerate(text.split(b"\n"), 1) if line.endswith(b"\r")]
    if ended:
        where = f"line {ended[0]} ends" if len(ended) == 1 else f"{len(ended)} lines, the first is line {ended[0]}, end"
        found.append((0, f"{where} in CR (a file of Windows), which counts as part of the line"))
    if text.isascii() and text.decode("ascii").replace("\n", "").isprintable():
        return found
    for number, line in enumerate(cleaned(text).split(b"\n"), 1):
        unseen = [
            letter
            for letter in line.decode("utf-8", "surrogateescape")
            if not (letter.isprintable() or letter in "\t\0")
        ]
        if unseen and len(found) < _MAX:
            shown = "".join(map(_spelled, dict.fromkeys(unseen)))
            kind = "what is no UTF-8" if unseen[0] in _NO_UTF8 else "what cannot be seen"
            found.append((number, f"holds {kind}: {shown}"))
    return found


def cleaned(text: bytes) -> bytes:
    """Remove a byte order mark, and CR at the ends of lines."""
    return _CARRIAGE_RETURNS.sub(b"", text.removeprefix(BYTE_ORDER_MARK))


_NO_UTF8 = {chr(0xDC00 + byte) for byte in range(128, 256)}


def _spelled(letter: str) -> str:
    if letter.isprintable():
        return letter
    if letter in _NO_UTF8:
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")
