"""Both ends of a TCP connection on a descriptor as environment variables.  Light.

Source: smtp-server.md 4.9 (tcp-env.c).
"""

import _socket
import os

from eqmail_core.text.sanitize import plain

_MAPPED = "::ffff:"
_TRY_AGAIN = 2

NO_ANSWER = b"softdnserror"
"""The host name of an address whose lookup failed temporarily."""


def describe(fd: int, ident_timeout_s: float | None) -> dict[bytes, bytes | None]:
    """Return PROTO and the TCP variables of the connection `fd`; None: unset the variable.

    `ident_timeout_s` None: no ident query.
    Fails: OSError if `fd` is not a TCP connection.
    """
    sock = _socket.socket(fileno=os.dup(fd))
    try:
        if sock.family not in (_socket.AF_INET, _socket.AF_INET6):
            raise OSError("no TCP connection")
        local, remote = plain_address(sock.getsockname()), plain_address(sock.getpeername())
    finally:
        sock.close()
    user = None
    if ident_timeout_s is not None:
        # Imported here, because most runs send no ident query.
        from eqmail_core.tcpserver.ident import remote_user

        user = remote_user(local, remote, ident_timeout_s)
    return {
        b"PROTO": b"TCP",
        b"TCPLOCALIP": local[0].encode(),
        b"TCPLOCALPORT": b"%d" % local[1],
        b"TCPLOCALHOST": name_of(local[0]),
        b"TCPREMOTEIP": remote[0].encode(),
        b"TCPREMOTEPORT": b"%d" % remote[1],
        b"TCPREMOTEHOST": name_of(remote[0]),
        b"TCPREMOTEINFO": user,
    }


def plain_address(name: tuple[str, int]) -> tuple[str, int]:
    """Return address and port of a socket name; an IPv4-mapped address becomes IPv4."""
    ip = name[0].partition("%")[0]
    return (ip[len(_MAPPED) :] if ip.startswith(_MAPPED) and "." in ip else ip), name[1]


def name_of(ip: str) -> bytes | None:
    """Return the host name of an address in lower case; None if it has none.

    NO_ANSWER if the lookup failed temporarily.
    """
    try:
        # As bytes: for a str Python would load its host name codec, which takes longer than the lookup.
        name = _socket.gethostbyaddr(ip.encode())[0]  # type: ignore[arg-type]  # bytes go unencoded
        return plain(name.lower().encode("utf-8", "replace"))
    except _socket.herror as error:
        return NO_ANSWER if error.errno == _TRY_AGAIN else None
    except OSError:
        return NO_ANSWER
