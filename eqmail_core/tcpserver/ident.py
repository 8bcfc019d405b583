"""The client of the identification protocol, which returns the user of a remote connection.

Source: smtp-server.md 4.9 (tcp-env, remoteinfo.c); RFC 1413.
"""

import socket
import time

from eqmail_core.text.sanitize import plain

PORT = 113
_MAX_ANSWER = 1000


def remote_user(local: tuple[str, int], remote: tuple[str, int], timeout_s: float, port: int = PORT) -> bytes | None:
    """Query the host `remote` for the user of its connection to `local`.

    Returns None without an answer within `timeout_s`.
    Fails: never; any error counts as no answer.
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
                # The timeout covers the whole answer; otherwise a byte now and then could block for hours.
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
    """Return the user in an answer, the text after the third colon without blanks; else None.

    A control character in it becomes a question mark.
    """
    parts = answer.partition(b"\n")[0].split(b":", 3)
    if len(parts) < 4:
        return None
    return plain(parts[3].translate(None, b" \t\r\0"))
