"""Log lines of qmail-tcpsrv in the format of tcpserver, so that existing analysers work.

Source: smtp-server.md 4.9.
"""

_LONGEST = 100
_SAFE = bytes(byte if 33 <= byte <= 126 and byte != 37 else 63 for byte in range(256))


def sanitized(component: bytes | None) -> bytes:
    """Return a component of a line, cut after 100 bytes with "..." appended.

    Unprintable bytes, blanks and % become ?.
    """
    text = component or b""
    return text[:_LONGEST].translate(_SAFE) + (b"..." if len(text) > _LONGEST else b"")


def verdict_line(is_denied: bool, pid: int, environ: dict[bytes, bytes]) -> bytes:
    """Return the line: ok or deny, process id, and both ends of the connection from `environ`."""
    local = (b"TCPLOCALHOST", b"TCPLOCALIP", b"TCPLOCALPORT")
    remote = (b"TCPREMOTEHOST", b"TCPREMOTEIP", b"TCPREMOTEINFO", b"TCPREMOTEPORT")
    here, there = (b":".join(sanitized(environ.get(name)) for name in names) for names in (local, remote))
    return b"%b %d %b %b" % (b"deny" if is_denied else b"ok", pid, here, there)
