"""Addresses and connections: what a host literal stands for, and TCP connections to one address.

Fails: OSError, as the system says it; a connection that takes too long is TimeoutError.  Temporary where a connection
cannot leave from the address that is wanted for it.
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
"""Bytes that are still read of a peer that takes nothing more."""

_IPV6 = b"ipv6:"
_QUICKACK: int = getattr(socket, "TCP_QUICKACK", 0)
_BIND_ADDRESS_NO_PORT = 24


def literal_address(host: bytes) -> str | None:
    """The address that 192.0.2.1, [192.0.2.1], [2001:db8::1] or [IPv6:2001:db8::1] stands for; None for other hosts."""
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
    """An address in the system's form, 4 or 16 bytes, and its family number."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    return socket.inet_pton(family, ip), family


def start_dialing(ip: str, port: int, sources: "Sequence[bytes]" = ()) -> socket.socket:
    """A socket that is being connected; it does not block, and is writable when it stands or has failed.

    It leaves from the first of `sources`, addresses of this host, that is of the kind of `ip`, if there is one.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        source = next((it for it in sources if (b":" in it) == (":" in ip)), None)
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
        # The port is chosen when the peer is known, so that one source has a port for each peer.
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
    """Why a socket that became writable is not connected; 0 when it is."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def dial(ip: str, port: int, timeout_s: float, sources: "Sequence[bytes]" = ()) -> socket.socket:
    """Connect, waiting; the socket does not block."""
    import select

    sock = start_dialing(ip, port, sources)
    runner = select.poll()
    runner.register(sock, select.POLLOUT)
    code = dial_failure(sock) if runner.poll(timeout_s * 1000) else errno.ETIMEDOUT
    if code:
        sock.close()
        raise OSError(code, os.strerror(code))
    return sock


def acknowledge_now(sock: socket.socket) -> None:
    """Tell the peer at once that its bytes are here.

    A server that writes its pipelined replies one by one (Nagle's algorithm) would otherwise wait 40 ms for that.
    """
    if _QUICKACK:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        except OSError:
            pass


def unread(sock: socket.socket) -> "Iterator[bytes]":
    """What a peer said that takes nothing more, as far as it lies in the socket; at most MOST_UNREAD bytes."""
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
    """Tell whether the table of slow hosts takes note of this failure to connect."""
    return error in (errno.ETIMEDOUT, errno.ECONNREFUSED)
