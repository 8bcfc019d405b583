"""SMTP connections to other servers on an event loop: one socket and client machine each.

There is no task, timer or buffer per connection: the loop calls on input, and the machine decides.  One
`ConnectionTimer` regularly checks all sessions for servers that exceed their timeout.

Fails: never; a failed connect is an error number, a broken connection is part of the machine's report.
"""

import asyncio
import errno
from collections.abc import Callable, Sequence

from eqmail_core.dsn.parameters import DsnParameters
from eqmail_core.smtp.client import SmtpClient
from eqmail_core.smtp.client_transport import ClientTransport, received
from eqmail_core.smtp.connect import dial_failure, start_dialing
from eqmail_core.smtp.exchange import CONTENT, TRY_NEXT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.smtp.client_transport import MayEnd, ReadPiece, Secure

# Maximum number of pieces sent in one turn of the loop, so that one fast server does not starve the others.
_BURST = 16


class ConnectionTimer:
    """Ends sessions past their deadline; checks every `tick_s` seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tick_s: float = 1.0) -> None:
        self.loop = loop
        self.sessions: set[ClientConnection] = set()
        self._tick_s = tick_s
        self._timer = loop.call_later(tick_s, self._look)

    def _look(self) -> None:
        now = self.loop.time()
        for session in [session for session in self.sessions if session.deadline <= now]:
            session.time_out()
        self._timer = self.loop.call_later(self._tick_s, self._look)

    def close(self) -> None:
        """Close every session and stop the timer."""
        self._timer.cancel()
        for session in list(self.sessions):
            session.close_when_idle()


class ClientConnection:
    """One connection, from connect on; it serves one delivery at a time, or is idle.

    `deadline` is in the loop's time; `secure` starts TLS for a client that may use it.  An idle session closes
    itself on input, on disconnect, and at its deadline; `on_close` is called when the connection closes.
    """

    __slots__ = (
        "_answers",
        "_fd",
        "_is_dialing",
        "_is_reading",
        "_is_writing",
        "_loop",
        "_result",
        "_sock",
        "_timeout_s",
        "_timer",
        "_transport",
        "_unsent",
        "carried",
        "client",
        "deadline",
        "ip",
        "on_close",
    )

    def __init__(self, timer: ConnectionTimer, ip: str, client: SmtpClient, secure: "Secure | None" = None) -> None:
        self._timer = timer
        self._transport = ClientTransport(client, secure=secure)
        self._loop = timer.loop
        self._result: asyncio.Future[int] | None = None
        self._unsent = b""
        self._is_dialing = False
        self._is_reading = False
        self._is_writing = False
        self._fd = -1
        self._timeout_s = 0.0
        self._answers = 0
        self.ip = ip
        self.client = client
        self.carried = 0
        self.deadline = 0.0
        self.on_close: Callable[[ClientConnection], None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the connection is open."""
        return self._fd >= 0

    def dial(self, port: int, timeout_s: float, sources: Sequence[bytes] = ()) -> "asyncio.Future[int]":
        """Connect, from one of `sources` as in `start_dialing`; the result is 0 or an errno.

        Fails: TemporaryFailure where the required source address cannot be used.
        """
        result: asyncio.Future[int] = self._loop.create_future()
        try:
            self._sock = start_dialing(self.ip, port, sources)
        except OSError as error:
            result.set_result(error.errno or errno.EIO)
            return result
        self._result = result
        self._fd = self._sock.fileno()
        self._is_dialing = self._is_writing = True
        self.deadline = self._loop.time() + timeout_s
        self._timer.sessions.add(self)
        self._loop.add_writer(self._fd, self._dialed)
        return result

    def send_message(
        self,
        sender: bytes,
        recipients: list[bytes],
        read: "ReadPiece",
        timeout_s: float,
        dsn: DsnParameters | None = None,
        may_end: "MayEnd" = lambda: True,
    ) -> "asyncio.Future[int]":
        """Send a message; when the result (0) is set, `client.status` is TRY_NEXT or DONE.

        `read` returns the message piece by piece, b"" at the end, and may raise OSError.  `timeout_s` limits the wait
        for each reply.  `may_end` is asked before the end of the message leaves this machine.
        Afterwards the session is open only if its client `is_reusable`.
        """
        result: asyncio.Future[int] = self._loop.create_future()
        self._result = result
        self._transport.read_piece = read
        self._transport.may_end = may_end
        self._timeout_s = timeout_s
        self._answers = -1
        # Not earlier: on an idle connection, a greeting would look like a server that disconnects.
        if not self._is_reading:
            self._is_reading = True
            self._loop.add_reader(self._fd, self._readable)
        self.client.begin(sender, recipients, dsn)
        self.carried += 1
        self._advance()
        return result

    def time_out(self) -> None:
        """Handle the end of the deadline."""
        if self._result is None:
            self.close_when_idle()
        elif self._is_dialing:
            self._finish_dialing(errno.ETIMEDOUT)
        else:
            self.client.lost()
            self._finish()

    def close_when_idle(self) -> None:
        """Close; an idle session sends QUIT first."""
        if self._fd >= 0 and self._result is None:
            self._try_to_send(self._transport.wrap(b"QUIT\r\n"))
        self.close()

    def close(self) -> None:
        """Close the connection in any state; cancel a delivery that waits for it first."""
        if self._fd < 0:
            return
        if self._is_writing:
            self._loop.remove_writer(self._fd)
        if self._is_reading:
            self._loop.remove_reader(self._fd)
        closing = self._transport.close_notify()
        if closing and not self._unsent:
            self._try_to_send(closing)
        self._fd = -1
        self._sock.close()
        self._transport.read_piece = bytes
        self._timer.sessions.discard(self)
        if self.on_close is not None:
            self.on_close(self)

    def _try_to_send(self, output: bytes) -> None:
        try:
            self._sock.send(output)
        except OSError:
            pass

    def _dialed(self) -> None:
        self._finish_dialing(dial_failure(self._sock))

    def _finish_dialing(self, code: int) -> None:
        if code:
            self.close()
        else:
            self._loop.remove_writer(self._fd)
            self._is_dialing = self._is_writing = False
        self._resolve(code)

    def _resolve(self, code: int) -> None:
        result, self._result = self._result, None
        if result is not None and not result.done():
            result.set_result(code)

    def _readable(self) -> None:
        data = received(self._sock)
        if data is None:
            return
        if self._result is None:
            # Input without a command: the server is closing the session.
            self.close()
            return
        self._transport.receive(self._sock, data)
        self._advance()

    def _advance(self) -> None:
        """Supply the machine and send its output, until it waits for the server."""
        client = self.client
        for _ in range(_BURST):
            output = self._transport.output(takes_content=not self._unsent)
            if output:
                self._send(output)
            if client.status != CONTENT or self._unsent:
                break
        else:
            self._loop.call_soon(self._advance_later)
        if client.status >= TRY_NEXT:
            self._finish()
        elif client.answers != self._answers:
            self._answers = client.answers
            self.deadline = self._loop.time() + self._timeout_s

    def _advance_later(self) -> None:
        if self._fd >= 0 and self._result is not None:
            self._advance()

    def _finish(self) -> None:
        """End the message: keep the connection if another message may follow, else close it."""
        self._transport.read_piece = bytes
        if self._unsent or not self.client.is_reusable:
            self.close()
        self._resolve(0)

    def _send(self, output: bytes) -> None:
        if self._unsent:
            self._unsent += output
            return
        try:
            sent = self._sock.send(output)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._transport.fail_to_send(self._sock)
            return
        self.deadline = self._loop.time() + self._timeout_s
        if sent < len(output):
            self._unsent = output[sent:]
            if not self._is_writing:
                self._is_writing = True
                self._loop.add_writer(self._fd, self._writable)

    def _writable(self) -> None:
        if not self._transport.may_end():
            # What waits may hold the end of the message.
            self.client.withhold()
            self._finish()
            return
        unsent, self._unsent = self._unsent, b""
        self._send(unsent)
        if not self._unsent:
            self._is_writing = False
            self._loop.remove_writer(self._fd)
        self._advance()
