"""The interface to a service manager: passed sockets, readiness, watchdog messages.

The protocol is systemd's; dpkg's start-stop-daemon and s6 tools support it too.  Without a manager nothing is sent.

Source: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3).
"""

import errno
import os
import socket
import struct

from eqmail_core.smtpd.server.listener import SmtpListener
from eqmail_core.text.listen_address import ROLES, TRANSFER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping

FIRST_FD = 3
IDLE_S = 86400.0

_STARTING_S = 60
"""Extension of the start timeout per message, in seconds."""

# One second as struct timeval.
_SEND_TIMEOUT = struct.pack("@ll", 1, 0)


class ServiceManager:
    """Reports the state of the services to the service manager.

    `address` is its datagram socket, empty for none.  `watchdog_s` is the longest silence that it accepts, 0 for any.
    """

    __slots__ = ("_address", "pause_s")

    def __init__(self, address: bytes = b"", watchdog_s: float = 0.0) -> None:
        self._address = b"\0" + address[1:] if address.startswith(b"@") else address
        self.pause_s = watchdog_s / 2 or IDLE_S

    def ready(self) -> None:
        """Report that every service has reported ready."""
        self._notify(b"READY=1\nMAINPID=%d" % os.getpid())

    def starting(self) -> None:
        """Report that the start is still in progress, which extends the manager's timeout."""
        self._notify(b"EXTEND_TIMEOUT_USEC=%d" % (_STARTING_S * 1_000_000))

    def alive(self) -> None:
        """Send a watchdog message; due at least every `pause_s` seconds."""
        if self.pause_s != IDLE_S:
            self._notify(b"WATCHDOG=1")

    def stopping(self) -> None:
        """Report that the end has begun, of any duration; watchdog messages stop."""
        self._notify(b"STOPPING=1\nWATCHDOG_USEC=0" if self.pause_s != IDLE_S else b"STOPPING=1")

    def failed(self, code: int) -> int:
        """Report that the start failed; return the given exit code."""
        self._notify(b"ERRNO=%d" % errno.ECANCELED)
        return code

    def _notify(self, state: bytes) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                # Not settimeout: poll reports a peer that does not read as ready, and Python would retry without pause.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND_TIMEOUT)
                sock.sendto(state, self._address)
        except OSError:
            # The services must run even if the manager does not listen.
            return


def service_manager(environ: "MutableMapping[bytes, bytes]") -> ServiceManager:
    """Create the ServiceManager that the environment names, and remove its variables.

    So no child can send messages in the name of this process.
    """
    address = environ.pop(b"NOTIFY_SOCKET", b"")
    micros, pid = environ.pop(b"WATCHDOG_USEC", b""), environ.pop(b"WATCHDOG_PID", b"")
    watched = micros.isdigit() and pid in (b"", b"%d" % os.getpid())
    return ServiceManager(address, int(micros) / 1e6 if watched else 0.0)


def given_listeners(environ: "MutableMapping[bytes, bytes]") -> list[SmtpListener]:
    """The listening TCP sockets that the service manager passed; removes their variables.

    A name that is a role (FileDescriptorName=submissions) gives the listener this role.

    Fails: OSError for a descriptor that is not a listening TCP socket.
    """
    pid, count = environ.pop(b"LISTEN_PID", b""), environ.pop(b"LISTEN_FDS", b"")
    names = environ.pop(b"LISTEN_FDNAMES", b"").split(b":")
    if pid != b"%d" % os.getpid() or not count.isdigit():
        return []
    names += [b""] * (int(count) - len(names))
    return [_listener(FIRST_FD + index, names[index]) for index in range(int(count))]


def _listener(fd: int, name: bytes) -> SmtpListener:
    os.set_inheritable(fd, False)
    sock = SmtpListener(fileno=fd)
    sock.role = ROLES.get(name.decode("latin-1"), TRANSFER)
    internet = sock.family in (socket.AF_INET, socket.AF_INET6)
    if not internet or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.detach()
        raise OSError(None, f"descriptor {fd}, which the service manager gave, is no listening TCP socket")
    return sock
