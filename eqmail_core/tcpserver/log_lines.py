"""What qmail-tcpsrv says of a connection, in the words of tcpserver, so that its analysers work.

Source: smtp-server.md 4.9.
"""

_LONGEST = 100
_SAFE = bytes(byte if 33 <= byte <= 126 and byte != 37 else 63 for byte in range(256))


def sanitized(component: bytes | None) -> bytes:
    """A component of a line: what does not print, blanks and % become ?; what is too long is cut."""
    text = component or b""
    return text[:_LONGEST].translate(_SAFE) + (b"..." if len(text) > _LONGEST else b"")


def verdict_line(is_denied: bool, pid: int, environ: dict[bytes, bytes]) -> bytes:
    """ok or deny, the process, and both ends of the connection as the variables in `environ` tell them."""
    local = (b"TCPLOCALHOST", b"TCPLOCALIP", b"TCPLOCALPORT")
    remote = (b"TCPREMOTEHOST", b"TCPREMOTEIP", b"TCPREMOTEINFO", b"TCPREMOTEPORT")
    here, there = (b":".join(sanitized(environ.get(name)) for name in names) for names in (local, remote))
    return b"%b %d %b %b" % (b"deny" if is_denied else b"ok", pid, here, there)
