"""Milters queried by a program for one client, blocking.  Light: no event loop."""

import select
import socket
import time

from eqmail_core.filters.milter_filter import CONNECT, LIMIT_S, MilterFilter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.filters.milter.client import MilterClient
    from eqmail_core.filters.verdict import FilterQuery, FilterVerdict

_RECEIVE = 65536


class BlockingMilter(MilterFilter):
    """A milter on its own socket."""

    __slots__ = ("_sock",)
    _sock: socket.socket | None

    def ask(self, question: "FilterQuery") -> "FilterVerdict":
        """Query the milter and return its verdict."""
        steps = self.start(question)
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                verdict: FilterVerdict = end.value
                return verdict
            assert self.client is not None
            try:
                if step == CONNECT:
                    self.close()
                    self._sock = self._connect()
                else:
                    self._talk(self.client)
            except TimeoutError:
                self.client.give_up(f"no answer for {self.timeout_s} seconds")
            except OSError as error:
                self.client.give_up(error.strerror or str(error))
            if self.client.problem:
                self.close()
                self.discard_body()

    def close(self) -> None:
        """End the session."""
        sock, self._sock = getattr(self, "_sock", None), None
        if sock is None:
            return
        if self.client is not None and not self.client.problem:
            self.client.quit()
            try:
                sock.send(self.client.take_output())
            except OSError:
                pass  # The milter has already disconnected.
        sock.close()

    def _connect(self) -> socket.socket:
        if self.address is None:
            raise OSError("not an address such as unix:/run/milter.sock or inet:127.0.0.1:11332")
        where, port = self.address
        if port:
            sock = socket.create_connection((where, port), timeout=self.timeout_s)
        else:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(self.timeout_s)
            try:
                sock.connect(where)
            except OSError:
                sock.close()
                raise
        sock.setblocking(False)
        return sock

    def _talk(self, client: "MilterClient") -> None:
        """Exchange packets until the question is answered.  Fails: OSError, TimeoutError."""
        sock = self._sock
        if sock is None:
            return
        limit = time.monotonic() + LIMIT_S
        deadline, replies = 0.0, -1
        unsent = b""
        runner = select.poll()
        while not client.problem:
            unsent = unsent or client.take_output()
            if client.answer is not None and not unsent:
                return
            if replies != client.replies:
                replies = client.replies
                deadline = time.monotonic() + self.timeout_s
            runner.register(sock, select.POLLIN | select.POLLOUT if unsent else select.POLLIN)
            events = runner.poll(max(0.0, min(deadline, limit) - time.monotonic()) * 1000)
            if not events:
                raise TimeoutError
            if events[0][1] & select.POLLOUT:
                sent = sock.send(unsent)
                unsent = unsent[sent:]
                deadline = time.monotonic() + self.timeout_s
            if events[0][1] & ~select.POLLOUT:
                data = sock.recv(_RECEIVE)
                if not data:
                    raise OSError("it closed the connection")
                client.receive(data)
                self.finish()
