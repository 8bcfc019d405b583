"""Hand over the client of qmail-smtpd to the resident SMTP service, then wait and log.

Light: a connection costs what this imports.  The program stays until the session is over, so that the process that
started it can still count its clients.  When the program is killed, the session ends as well.

Source: docs/adr/0010-handing-over-connections.md; ipc/handover_protocol.py.
"""

import _socket
import os
import sys
from stat import S_ISSOCK

from eqmail_core.ipc import handover_protocol as wire
from eqmail_core.site.layout import home_of, socket_path
from eqmail_core.system.log import write_stderr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NO_HANDOVER_VARIABLE = b"NOHANDOVER"
"""With this variable in its environment, a program serves its client itself."""

TIMEOUT_S = 3.0
"""Maximum wait for the service, in seconds; after that the program serves the client itself."""

LOST = 1
"""The exit code if the service disconnects during the session."""

_PACKET = 65536
_CLIENT = 0
_PEER_BYTES = 12


def offer_client(checker: list[bytes], environ: "Mapping[bytes, bytes]") -> int | None:
    """Offer the client on descriptors 0 and 1 to the service.

    Return the exit code of the session.  None if the service refused; then no byte was read or sent.
    """
    if NO_HANDOVER_VARIABLE in environ or not _is_connection():
        return None
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        sock.settimeout(TIMEOUT_S)
        sock.connect(socket_path(os.fsdecode(home_of(environ)), "smtp"))
        is_taken = _is_taken(sock, wire.offer(checker, environ))
    except OSError:
        is_taken = False
    if not is_taken:
        sock.close()
        return None
    # An open descriptor keeps the connection open; from here on only the service holds it.
    os.close(_CLIENT)
    os.close(1)
    sock.settimeout(None)
    return _wait_for_end(sock)


def _is_connection() -> bool:
    """Whether both descriptors are one socket; pipes, as under ssh, are not handed over."""
    try:
        client, out = os.fstat(_CLIENT), os.fstat(1)
    except OSError:
        return False
    return S_ISSOCK(client.st_mode) and (client.st_ino, client.st_dev) == (out.st_ino, out.st_dev)


def _is_taken(sock: _socket.socket, offer: bytes) -> bool:
    """Offer the client to a service of root or of the same account.

    True if accepted.  Fails: OSError.
    """
    if len(offer) > wire.MAX_BYTES or _peer(sock) not in (0, os.geteuid()) or sock.recv(_PACKET) != wire.READY:
        return False
    sock.sendmsg([offer], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, _CLIENT.to_bytes(4, sys.byteorder))])
    try:
        return sock.recv(_PACKET) == wire.TAKEN
    except TimeoutError:
        # After this the service can no longer accept the client; but it may have done so just before.
        sock.shutdown(_socket.SHUT_RD)
        return sock.recv(_PACKET) == wire.TAKEN


def _peer(sock: _socket.socket) -> int:
    """Return the uid that created the socket, according to the kernel."""
    return int.from_bytes(sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _PEER_BYTES)[4:8], sys.byteorder)


def _wait_for_end(sock: _socket.socket) -> int:
    """Log the lines of the service until the session is over; return its exit code."""
    while packet := _next(sock):
        if packet[:1] == wire.END:
            return wire.split_end(packet)
        write_stderr(packet[1:])
    write_stderr(b"qmail-smtpd: alert: the resident service went away in the middle of a conversation\n")
    return LOST


def _next(sock: _socket.socket) -> bytes:
    try:
        return sock.recv(_PACKET)
    except OSError:
        return b""
