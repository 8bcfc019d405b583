"""Resolve host literals and open TCP connections to one address.

Fails: OSError from the system; TimeoutError for a connection that takes too long.  TemporaryFailure where a
connection cannot use the source address required for it.
"""

import errno
import os
import socket

from eqmail_core.outcome import TemporaryFailure
from eqmail_core.text.error_text import error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_UNREAD = 65536
"""Maximum number of bytes read from a peer that accepts no more data."""

_IPV6 = b"ipv6:"
_QUICKACK: int = getattr(socket, "TCP_QUICKACK", 0)
_BIND_ADDRESS_NO_PORT = 24


def literal_address(host: bytes) -> str | None:
    """Extract the address of a host literal; None for any other host.

    Literals are 192.0.2.1, [192.0.2.1], [2001:db8::1] and [IPv6:2001:db8::1].
    """
    text = host
    if host[:1] == b"[" and host[-1:] == b"]":
        text = host[1:-1]
        if text[: len(_IPV6)].lower() == _IPV6:
            text = text[len(_IPV6) :]
    # Names are far more frequent here than addresses.
    if not text or not (text[-1:].isdigit() or b":" in text):
        return None
    family = socket.AF_INET6 if b":" in text else socket.AF_INET
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, text.decode("ascii")))
    except (OSError, UnicodeDecodeError):
        return None


def packed_address(ip: str) -> tuple[bytes, int]:
    """Convert an address to binary form, 4 or 16 bytes, and its address family."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    return socket.inet_pton(family, ip), family


def start_dialing(ip: str, port: int, sources: "Sequence[bytes]" = ()) -> socket.socket:
    """Return a non-blocking socket that is connecting; it gets writable on success or failure.

    It binds to the first of `sources`, addresses of this host, whose family is that of `ip`, if there is one.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        source = next((address for address in sources if (b":" in address) == (":" in ip)), None)
        if source is not None:
            _leave_from(sock, source)
        code = sock.connect_ex((ip, port))
    except (OSError, TemporaryFailure):
        sock.close()
        raise
    if code not in (0, errno.EINPROGRESS):
        sock.close()
        raise OSError(code, os.strerror(code))
    return sock


def _leave_from(sock: socket.socket, source: bytes) -> None:
    try:
        # The kernel chooses the port at connect, so that one source address can reuse a port for several peers.
        sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
    except OSError:
        pass
    try:
        address = socket.inet_ntop(sock.family, socket.inet_pton(sock.family, source.decode("latin-1")))
        sock.bind((address, 0))
    except OSError as error:
        reason = error_text(error.errno or errno.EINVAL)
        raise TemporaryFailure(
            b"Unable to send from %b, as outgoingip wants: %b. (#4.3.5)" % (source, reason)
        ) from error


def dial_failure(sock: socket.socket) -> int:
    """Return the error number of a writable socket that failed to connect; 0 if it is connected."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def dial(ip: str, port: int, timeout_s: float, sources: "Sequence[bytes]" = ()) -> socket.socket:
    """Connect, blocking; the returned socket is non-blocking."""
    import select

    sock = start_dialing(ip, port, sources)
    poller = select.poll()
    poller.register(sock, select.POLLOUT)
    code = dial_failure(sock) if poller.poll(timeout_s * 1000) else errno.ETIMEDOUT
    if code:
        sock.close()
        raise OSError(code, os.strerror(code))
    return sock


def acknowledge_now(sock: socket.socket) -> None:
    """Send a TCP acknowledgement at once.

    A server that writes its pipelined replies one by one (Nagle's algorithm) would otherwise wait 40 ms for it.
    """
    if _QUICKACK:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        except OSError:
            pass


def unread(sock: socket.socket) -> "Iterator[bytes]":
    """Yield buffered input of a peer that accepts no more data; at most MAX_UNREAD bytes."""
    left = MAX_UNREAD
    while left > 0:
        try:
            data = sock.recv(left)
        except OSError:
            return
        if not data:
            return
        yield data
        left -= len(data)


def counts_as_timeout(error: int) -> bool:
    """Whether the tcpto table records this connection error."""
    return error in (errno.ETIMEDOUT, errno.ECONNREFUSED)
