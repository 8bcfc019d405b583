"""Writes log lines to standard error; the logger that reads them adds the time.

Source: queue.md 3.12 (safe characters of qmail-send).
"""

import os
from stat import S_ISSOCK

from eqmail_core.outcome import EXIT_TEMPORARY

SYSLOG = "/dev/log"
"""The socket of the system's log, which takes one line per datagram."""

_MAIL_INFO = b"<22>"
_priority = b""
_SAFE = bytes(byte if 33 <= byte <= 126 and byte != 37 else 95 for byte in range(256))


def log_safe(data: bytes) -> bytes:
    """Make untrusted bytes safe for a log line: newline becomes /, unprintables and % become _."""
    return data.replace(b"\n", b"/").translate(_SAFE)


def log_line(program: str, text: bytes | str) -> None:
    """Write `program: text` and a newline to standard error in one write; errors are ignored."""
    line = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    write_stderr(program.encode() + b": " + line.replace(b"\n", b"/") + b"\n")


def describe_error(error: BaseException) -> bytes:
    """Describe an exception in readable text; exceptions that indicate a bug keep their name."""
    if isinstance(error, OSError) and error.errno:
        # Imported here, because it is rarely needed, and programs that start per message would pay for it.
        from eqmail_core.text.error_text import error_text

        where = error.filename
        about = os.fsencode(where) + b": " if isinstance(where, str | bytes) else b""
        return about + error_text(error.errno)
    name = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    return f"{name}{error}".encode("utf-8", "backslashreplace")


def write_stderr(text: bytes) -> None:
    """Write a text to standard error; errors are ignored, because the exit code has the same information."""
    try:
        os.write(2, _priority + text)
    except OSError:
        pass


def redirect_to_syslog() -> None:
    """Redirect standard error to syslog if it is the client connection (inetd, xinetd).

    The client would take log lines for replies.  Without a syslog, the lines are lost.
    """
    global _priority
    try:
        client, log = os.fstat(0), os.fstat(2)
    except OSError:
        return
    if not S_ISSOCK(log.st_mode) or (client.st_ino, client.st_dev) != (log.st_ino, log.st_dev):
        return
    # Imported here, because most servers have a log, and those that are started for each client would pay for it.
    import _socket

    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
    try:
        sock.connect(SYSLOG)
        os.dup2(sock.fileno(), 2)
        _priority = _MAIL_INFO
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 2)
    sock.close()


def fatal(program: str, text: bytes | str, code: int = EXIT_TEMPORARY) -> int:
    """Log `program: fatal: text` and return the exit code."""
    log_line(program, b"fatal: " + (text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")))
    return code
