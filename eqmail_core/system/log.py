"""One line on standard error per thing worth saying; the logger behind it stamps the time.

Source: conventions; qmail-send's safe characters.
"""

import os

from eqmail_core.values.outcome import EXIT_TEMPORARY

_SAFE = bytes(byte if 33 <= byte <= 126 and byte != 37 else 95 for byte in range(256))


def safely(data: bytes) -> bytes:
    """Make bytes of a stranger fit for a log line: newline becomes /, what does not print and % become _."""
    return data.replace(b"\n", b"/").translate(_SAFE)


def say(program: str, text: bytes | str) -> None:
    """Write `program: text` and a newline to standard error in one piece; trouble there is ignored."""
    line = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    try:
        os.write(2, program.encode() + b": " + line.replace(b"\n", b"/") + b"\n")
    except OSError:
        pass


def fatal(program: str, text: bytes | str, code: int = EXIT_TEMPORARY) -> int:
    """Say why a program gives up, `program: fatal: text`, and return the code it exits with."""
    say(program, b"fatal: " + (text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")))
    return code
