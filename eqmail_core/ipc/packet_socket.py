"""Unix sockets between services: packets with descriptors, and the credentials of the peer.

All sockets are SOCK_SEQPACKET: one send is one receive, so that no protocol needs its own framing.

Another account controls how long the close of a descriptor that it sent takes, even of one never read from the socket.
So a socket that expects none refuses them if the kernel can (Linux 6.16). Otherwise a thread closes them
(ipc/background_close.py). It also closes sockets whose peer is still connected.

Fails: OSError, as the system reports it.
"""

import os
import socket
import struct
from array import array

from eqmail_core.ipc.background_close import close_aside
from eqmail_core.site.accounts import PeerCredentials

PACKET = 131072
"""Largest packet of any protocol in this package, in bytes."""

SEND_BUFFER = 1 << 20

NO_WAIT_S = 0.0
"""The time limit of a socket that never blocks."""

MAX_DESCRIPTORS = 253
"""Most descriptors that the kernel allows in one packet."""

_CMSG_SPACE = socket.CMSG_SPACE(MAX_DESCRIPTORS * struct.calcsize("i"))
# asm-generic/socket.h; the socket module does not know it yet
_SO_PASSRIGHTS = 83


def peer_credentials(sock: socket.socket) -> PeerCredentials:
    """Return the peer's process, user and group as the kernel states them."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return PeerCredentials(*struct.unpack("3i", raw))


def refuse_descriptors(sock: socket.socket) -> bool:
    """Make the kernel refuse packets with descriptors; return False if it cannot.

    Connections that a listener accepts refuse them too.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS, 0)
    except OSError:
        return False
    return True


def hang_up(sock: socket.socket) -> None:
    """Close a connection that expects no descriptors, without blocking on any."""
    if refuse_descriptors(sock):
        sock.close()
    else:
        close_aside(sock.detach())


def listen_at(
    path: str, mode: int, uid: int = -1, gid: int = -1, backlog: int = 512, refuses_descriptors: bool = False
) -> socket.socket:
    """Listen on a new socket at `path` with this mode and owner; an old socket is replaced.

    `refuses_descriptors`: call `refuse_descriptors`, which covers connections that are not accepted yet.
    """
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if refuses_descriptors:
        refuse_descriptors(sock)
    try:
        old = os.umask(0o777)
        try:
            sock.bind(path)
        finally:
            os.umask(old)
        if uid != -1 or gid != -1:
            os.chown(path, uid, gid)
        os.chmod(path, mode)
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


def connect_to(path: str, timeout_s: float | None = None) -> socket.socket:
    """Connect to the socket at `path`, with a send buffer for large packets."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        enlarge_send_buffer(sock)
        sock.settimeout(timeout_s)
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return sock


def enlarge_send_buffer(sock: socket.socket) -> None:
    """Request a send buffer for many packets; the system may grant less."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    except OSError:
        pass


def send_packet(sock: socket.socket, data: bytes, fd: int = -1) -> None:
    """Send one packet, with a descriptor if one is given; it stays open in this process."""
    if fd < 0:
        sock.send(data)
    else:
        sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [fd]))])


def receive_packet(sock: socket.socket) -> tuple[bytes, int]:
    """Receive one packet and its descriptor, -1 for none; b"" is the end of the connection.

    Any further descriptor is closed in a thread.
    """
    data, ancillary, _, _ = sock.recvmsg(PACKET, _CMSG_SPACE, socket.MSG_CMSG_CLOEXEC)
    for level, kind, raw in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors = array("i", raw[: len(raw) - len(raw) % 4])
            for extra in descriptors[1:]:
                close_aside(extra)
            return data, descriptors[0]
    return data, -1


def send_descriptors(sock: socket.socket, data: bytes, fds: list[int]) -> None:
    """Send one packet with up to 253 descriptors; they stay open in this process."""
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))] if fds else [])


def receive_descriptors(sock: socket.socket, at_most: int, flags: int = 0) -> tuple[bytes, list[int]]:
    """Receive one packet and its descriptors; b"" is the end of the connection.

    Fewer descriptors arrive than were sent if this process reaches its descriptor limit.
    """
    data, ancillary, _, _ = sock.recvmsg(PACKET, socket.CMSG_SPACE(4 * at_most), flags | socket.MSG_CMSG_CLOEXEC)
    fds = array("i")
    for level, kind, raw in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(raw[: len(raw) - len(raw) % 4])
    return data, list(fds)
