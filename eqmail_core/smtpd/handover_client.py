"""What qmail-smtpd does with a client that the resident SMTP service takes over: it hands it over, waits, and logs.

Light: a connection costs what this imports.  The program stays until the conversation is over, so that whoever started
it counts its clients as ever; when it is ended, so is the conversation.

Source: docs/adr/0010; ipc/handover_protocol.py.
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
"""A program whose environment has it serves its client itself."""

TIMEOUT_S = 3.0
"""How long the service may take to answer before the program serves the client itself."""

LOST = 1
"""The exit code when the service went away in the middle of the conversation."""

_PACKET = 65536
_CLIENT = 0
_PEER_BYTES = 12


def offer_client(checker: list[bytes], environ: "Mapping[bytes, bytes]") -> int | None:
    """Let the service have the client on descriptors 0 and 1: the exit code that the conversation deserves.

    None where it did not take it: then not a byte was read or said.
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
    # Whoever holds the connection keeps it open; from here on that is the service.
    os.close(_CLIENT)
    os.close(1)
    sock.settimeout(None)
    return _wait_for_end(sock)


def _is_connection() -> bool:
    """Whether both descriptors are one socket; pipes, as below ssh, are not handed over."""
    try:
        client, out = os.fstat(_CLIENT), os.fstat(1)
    except OSError:
        return False
    return S_ISSOCK(client.st_mode) and (client.st_ino, client.st_dev) == (out.st_ino, out.st_dev)


def _is_taken(sock: _socket.socket, offer: bytes) -> bool:
    """Offer the client to a service that is root's or our own account's.  Fails: OSError."""
    if len(offer) > wire.MAX_BYTES or _peer(sock) not in (0, os.geteuid()) or sock.recv(_PACKET) != wire.READY:
        return False
    sock.sendmsg([offer], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, _CLIENT.to_bytes(4, sys.byteorder))])
    try:
        return sock.recv(_PACKET) == wire.TAKEN
    except TimeoutError:
        # From here on it cannot take the client any more; but it may have done so just now.
        sock.shutdown(_socket.SHUT_RD)
        return sock.recv(_PACKET) == wire.TAKEN


def _peer(sock: _socket.socket) -> int:
    """The uid of who made the socket, as the kernel vouches."""
    return int.from_bytes(sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _PEER_BYTES)[4:8], sys.byteorder)


def _wait_for_end(sock: _socket.socket) -> int:
    """Log what the service says until the conversation is over; its exit code."""
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
