"""Asking a client's host who runs the client: the identification protocol.

Source: smtp-server.md 4.9 (tcp-env, remoteinfo.c); RFC 1413.
"""

import socket
import time

from eqmail_core.text.sanitize import plain

PORT = 113
_MAX_ANSWER = 1000


def remote_user(local: tuple[str, int], remote: tuple[str, int], timeout_s: float, port: int = PORT) -> bytes | None:
    """What the host `remote` says about its end of a connection to us; None where it says nothing in `timeout_s`.

    Fails: never; whatever goes wrong is no answer.
    """
    family = socket.AF_INET6 if ":" in remote[0] else socket.AF_INET
    until = time.monotonic() + timeout_s
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout_s)
            sock.bind((local[0], 0))
            sock.connect((remote[0], port))
            sock.sendall(b"%d , %d\r\n" % (remote[1], local[1]))
            answer = b""
            while b"\n" not in answer and len(answer) < _MAX_ANSWER:
                # For all of it: a byte now and then would keep us for hours.
                left_s = until - time.monotonic()
                if left_s <= 0:
                    return None
                sock.settimeout(left_s)
                piece = sock.recv(_MAX_ANSWER)
                if not piece:
                    break
                answer += piece
    except OSError:
        return None
    return user_in(answer)


def user_in(answer: bytes) -> bytes | None:
    """The name in an answer: what stands after the third colon, without blanks; None where there is none.

    A control character in it becomes a question mark.
    """
    parts = answer.partition(b"\n")[0].split(b":", 3)
    if len(parts) < 4:
        return None
    return plain(parts[3].translate(None, b" \t\r\0"))
