"""The listening socket of qmail-tcpsrv, and the environment variables of a client.

Source: smtp-server.md 4.9 (qmail-tcpsrv); tcp-environ(5).
"""

import socket

from eqmail_core.tcpserver.environment import NO_ANSWER, name_of, plain_address
from eqmail_core.tcpserver.ident import remote_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.tcpserver.options import TcpsrvOptions

_ANY = (b"", b"0")

VARIABLES = (
    b"PROTO",
    b"TCPLOCALIP",
    b"TCPLOCALPORT",
    b"TCPLOCALHOST",
    b"TCPREMOTEIP",
    b"TCPREMOTEPORT",
    b"TCPREMOTEHOST",
    b"TCPREMOTEINFO",
)
"""Environment variables that describe the client to a program; an unknown value is unset."""


class CannotListen(Exception):
    """No socket can listen; the text is the reason."""


def listen(options: "TcpsrvOptions") -> socket.socket:
    """Return a non-blocking listening socket.  Fails: CannotListen."""
    port = _port_number(options.port)
    problem: Exception = OSError("no address")
    for family, ip in _addresses(options):
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            problem = error
            continue
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                scope = socket.if_nametoindex(options.interface.decode("latin-1")) if options.interface else 0
                sock.bind((ip, port, 0, scope))
            else:
                sock.bind((ip, port))
            sock.listen(options.backlog)
        except OSError as error:
            sock.close()
            problem = error
            continue
        sock.setblocking(False)
        return sock
    raise CannotListen(f"unable to bind: {problem}")


def _addresses(options: "TcpsrvOptions") -> list[tuple[int, str]]:
    """Return families and addresses to try in turn; an IPv6 socket accepts IPv4 clients too."""
    if options.host in _ANY:
        return [(socket.AF_INET, "0.0.0.0")] if options.ipv4_only else [(socket.AF_INET6, "::"), (socket.AF_INET, "")]
    host = options.host.decode("latin-1")
    family = socket.AF_INET if options.ipv4_only else socket.AF_UNSPEC
    try:
        found = socket.getaddrinfo(host, None, family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise CannotListen(f"unable to figure out IP address for {host}: {error}") from error
    return [(entry[0], str(entry[4][0])) for entry in found[:1]]


def _port_number(text: bytes) -> int:
    try:
        number = int(text) if text.isdigit() else socket.getservbyname(text.decode("latin-1"), "tcp")
        if number <= 0xFFFF:
            return number
    except (OSError, ValueError):
        pass
    raise CannotListen(f"unable to figure out port number for {text.decode('latin-1')}")


def prepare(sock: socket.socket, options: "TcpsrvOptions") -> None:
    """Set the chosen socket options of a connection; options that fail are skipped."""
    dsn = []
    if not options.keeps_ip_options:
        dsn.append((socket.IPPROTO_IP, socket.IP_OPTIONS, b""))
    if options.is_prompt:
        dsn.append((socket.IPPROTO_TCP, socket.TCP_NODELAY, b"\1\0\0\0"))
    for level, name, value in dsn:
        try:
            sock.setsockopt(level, name, value)
        except OSError:
            pass


def accept_client(sock: socket.socket, options: "TcpsrvOptions") -> dict[bytes, bytes]:
    """Return the known VARIABLES of a connection.  Fails: OSError if it is closed."""
    local, remote = plain_address(sock.getsockname()), plain_address(sock.getpeername())
    found = {
        b"PROTO": b"TCP",
        b"TCPLOCALIP": local[0].encode(),
        b"TCPLOCALPORT": b"%d" % local[1],
        b"TCPLOCALHOST": _known_name(local[0]) if options.local_name is None else options.local_name,
        b"TCPREMOTEIP": remote[0].encode(),
        b"TCPREMOTEPORT": b"%d" % remote[1],
        b"TCPREMOTEHOST": _remote_name(remote[0], options),
        b"TCPREMOTEINFO": remote_user(local, remote, options.ident_timeout_s) if options.asks_user else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _remote_name(ip: str, options: "TcpsrvOptions") -> bytes | None:
    name = _known_name(ip) if options.asks_name else None
    if name is None or not options.is_paranoid:
        return name
    try:
        found = socket.getaddrinfo(name.decode(), None, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    return name if any(entry[4][0] == ip for entry in found) else None


def _known_name(ip: str) -> bytes | None:
    name = name_of(ip)
    return None if name == NO_ANSWER else name
