"""A TLS stream on two descriptors, for a process that serves one client.

Imported when TLS begins.

Source: smtp-server.md 4.7.
"""

from eqmail_core.system.timed_stream import ConnectionLost, TimedOut, TimedStream
from eqmail_core.tls.server import PIECE, ServerTlsContexts
from eqmail_core.tls.session_info import ServerTlsFiles, TlsSessionInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class TlsTimedStream(TimedStream):
    """A TimedStream whose data is encrypted after `shake`.

    Fails: TlsUnavailable, before any byte is sent.
    """

    def __init__(self, plain: TimedStream, files: ServerTlsFiles, write_log: "Callable[[bytes], None]") -> None:
        self._plain = plain
        self.deadline = None
        self._tls = ServerTlsContexts(files, write_log).open()

    def shake(self) -> TlsSessionInfo:
        """Perform the handshake.  Fails: TlsHandshakeError, TimedOut, ConnectionLost."""
        tls, plain = self._tls, self._plain
        try:
            while not tls.shake(plain.read()):
                plain.write(tls.wrap(b""))
        finally:
            plain.write(tls.wrap(b""))
        return tls.session_info()

    def end_point(self) -> bytes:
        """Return the channel binding of the connection, b"" without one."""
        return self._tls.end_point()

    def read(self, at_most: int = PIECE) -> bytes:
        """Read some bytes.  Fails: TimedOut, ConnectionLost."""
        data = self._tls.receive(b"")
        self._plain.deadline = self.deadline
        while not data:
            if self._tls.is_over:
                raise ConnectionLost(reading=True)
            data = self._tls.receive(self._plain.read())
        return data

    def write(self, data: bytes) -> None:
        """Write all bytes.  Fails: TimedOut, ConnectionLost."""
        self._plain.write(self._tls.wrap(data))

    def close(self) -> None:
        """Send close_notify."""
        try:
            self._plain.write(self._tls.close_notify())
        except (TimedOut, ConnectionLost):
            pass
