"""Sends a message to a QMQP server and waits for its reply.  Light.

Source: smtp-server.md 4.11 (qmail-qmqpc.c); cr.yp.to/proto/qmqp.html.
"""

import _socket

from eqmail_core.queue.format import exit_codes as q

PORT = 628
CONNECT_TIMEOUT_S = 10.0
TALK_TIMEOUT_S = 60.0

MAX_DIGITS = 9
"""Digits of the longest reply length; a reply with more, or with other bytes, is invalid."""

NO_SERVERS = 55
NO_SOCKET = 56
TIMED_OUT = 72
REFUSED = 73
LOST = 74

_MEANINGS = {b"K": q.OK, b"Z": q.SERVICE_AWAY, b"D": q.REJECTED}


def hand_over(servers: list[bytes], packet: bytes, port: int = PORT) -> int:
    """Send `packet` to the first reachable IPv4 address; return an exit code of qmail-queue.

    After a connection no other server is tried: the first may have accepted the message.
    """
    code = NO_SERVERS
    for server in servers:
        try:
            _socket.inet_pton(_socket.AF_INET, server.decode("ascii"))
        except (OSError, ValueError):
            continue
        try:
            sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        except OSError:
            return NO_SOCKET
        try:
            sock.settimeout(CONNECT_TIMEOUT_S)
            try:
                sock.connect((server.decode("ascii"), port))
            except TimeoutError:
                code = TIMED_OUT
                continue
            except OSError:
                code = REFUSED
                continue
            return _talk(sock, packet)
        finally:
            sock.close()
    return code


def _talk(sock: _socket.socket, packet: bytes) -> int:
    """Send the packet and read the first byte of the reply; an invalid reply counts as LOST."""
    answer = b""
    try:
        sock.settimeout(TALK_TIMEOUT_S)
        sock.sendall(packet)
        while not answer.partition(b":")[2]:
            piece = sock.recv(4096)
            answer += piece
            if not piece or not _begins_netstring(answer):
                return LOST
    except OSError:
        return LOST
    return _MEANINGS.get(answer.partition(b":")[2][:1], LOST) if _begins_netstring(answer) else LOST


def _begins_netstring(answer: bytes) -> bool:
    """Tell whether these bytes may begin a non-empty netstring of permitted length."""
    digits, colon, _ = answer.partition(b":")
    if not digits.isdigit() or len(digits) > MAX_DIGITS:
        return False
    return not colon or int(digits) > 0
