"""The connection of a blocking program to a milter.  Light: no event loop."""

import select
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.filters.milter_filter import MilterAddress

_RECEIVE = 65536


class BlockingMilterConnection:
    """A `MilterConnection` whose coroutines block."""

    __slots__ = ("_sock",)

    def __init__(self) -> None:
        self._sock: socket.socket | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._sock is not None

    async def connect(self, address: "MilterAddress", timeout_s: float) -> None:
        """Connect.  Fails: OSError, TimeoutError."""
        where, port = address
        if port:
            sock = socket.create_connection((where, port), timeout=timeout_s)
        else:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(timeout_s)
            try:
                sock.connect(where)
            except OSError:
                sock.close()
                raise
        sock.setblocking(False)
        self._sock = sock

    async def send(self, data: bytes, timeout_s: float) -> None:
        """Send all bytes; each wait for the milter is limited.  Fails: OSError, TimeoutError."""
        sock, unsent = self._await(select.POLLOUT, timeout_s), memoryview(data)
        while unsent := unsent[sock.send(unsent) :]:
            self._await(select.POLLOUT, timeout_s)

    async def receive(self, timeout_s: float) -> bytes:
        """Receive some bytes, b"" at the end of the connection.  Fails: OSError, TimeoutError."""
        return self._await(select.POLLIN, timeout_s).recv(_RECEIVE)

    def close(self, last: bytes) -> None:
        """Send the last bytes, if the milter takes them at once, and close."""
        sock, self._sock = self._sock, None
        if sock is None:
            return
        try:
            sock.send(last)
        except OSError:
            pass  # The milter has already disconnected.
        sock.close()

    def _await(self, events: int, timeout_s: float) -> socket.socket:
        assert self._sock is not None
        poller = select.poll()
        poller.register(self._sock, events)
        if not poller.poll(max(0.0, timeout_s) * 1000):
            raise TimeoutError
        return self._sock
