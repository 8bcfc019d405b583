"""A milter as a filter of one session: when to connect, what to ask, and what replies mean.

The connection is that of `blocking_milter` or `async_milter`.  After a failure, the milter is connected again when the
next message begins, and then gets the client's data.

Fails: never; an unavailable milter gives the default verdict of its entry.
"""

from time import monotonic

from eqmail_core.control.filter_entries import FilterEntry, milter_address
from eqmail_core.filters import verdict as op
from eqmail_core.filters.milter import packets as wire
from eqmail_core.filters.milter.client import MilterClient
from eqmail_core.filters.verdict import FilterQuery, FilterVerdict
from eqmail_core.system.spooled_buffer import SpooledBuffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from eqmail_core.filters.transaction import TransactionInfo

    MilterAddress = tuple[str, int]

    class MilterConnection(Protocol):
        """A connection to a milter, closed at first; every wait is limited to `timeout_s` seconds."""

        @property
        def is_open(self) -> bool:
            """Whether there is a connection."""

        async def connect(self, address: MilterAddress, timeout_s: float) -> None:
            """Connect.  Fails: OSError, TimeoutError."""

        async def send(self, data: bytes, timeout_s: float) -> None:
            """Send all bytes.  Fails: OSError, TimeoutError."""

        async def receive(self, timeout_s: float) -> bytes:
            """Receive some bytes, b"" at the end of the connection.  Fails: OSError, TimeoutError."""

        def close(self, last: bytes) -> None:
            """Send the last bytes, if any, and close."""


LIMIT_S = 600
"""Maximum wait for one verdict in seconds, despite any progress.

Clients do not wait longer (RFC 5321 section 4.5.3.2).
"""

_MESSAGE_TIMEOUT_FACTOR = 10

# Limits of a new body: an absolute one, and a multiple of the size of the message.
_NEW_BODY_BYTES = 16 << 20
_NEW_BODY_TIMES = 4

_STAGES = frozenset((op.CONNECTED, op.HELLO, op.MAIL, op.RECIPIENT, op.DATA, op.MESSAGE))


class MilterHealth:
    """Tracks failing milters, so that a failure and the recovery are logged once each."""

    __slots__ = ("_failing", "_write_log")

    def __init__(self, write_log: "Callable[[str], None]") -> None:
        self._write_log = write_log
        self._failing: set[bytes] = set()

    def note(self, entry: FilterEntry, problem: str) -> None:
        """Record that a milter answered (`problem` b""), or why it did not."""
        if bool(problem) == (entry.name in self._failing):
            return
        name = entry.name.decode("ascii", "backslashreplace")
        if problem:
            self._failing.add(entry.name)
            self._write_log(f"milter {name}: {problem}; {_MEANS[entry.default]} (default={entry.default.decode()})")
        else:
            self._failing.discard(entry.name)
            self._write_log(f"milter {name}: answers again")


_MEANS = {
    b"tempfail": "mail is refused for now",
    b"accept": "mail is accepted without it",
    b"reject": "mail is refused",
}


class MilterFilter:
    """One milter and one client; `connection`: how it is reached."""

    __slots__ = ("_body", "_client", "_connection", "_entry", "_health")
    stages = _STAGES

    def __init__(self, entry: FilterEntry, health: MilterHealth, connection: "MilterConnection") -> None:
        self._entry = entry
        self._health = health
        self._connection = connection
        self._body: SpooledBuffer | None = None
        self._client: MilterClient | None = None

    async def ask(self, question: FilterQuery) -> FilterVerdict:
        """Query the milter and return its verdict."""
        info, stage, timeout_s = question.info, question.stage, self._entry.timeout_s
        client = self._client
        if client is None or (client.problem and stage in (op.CONNECTED, op.MAIL)):
            client = self._client = MilterClient()
            client.negotiate()
            await self._exchange(client, timeout_s, connects=True)
            for known in self._hello_commands(info, stage):
                _ASK[known](client, info)
                await self._exchange(client, timeout_s)
                if client.answer is not None and client.answer.kind == wire.REJECT:
                    return self._verdict(client, question)
        if stage == op.MESSAGE and question.message is not None:
            timeout_s = min(timeout_s * _MESSAGE_TIMEOUT_FACTOR, LIMIT_S)
            message = question.message
            room = _NEW_BODY_BYTES + _NEW_BODY_TIMES * message.size
            client.message(list(message.header.fields), message.body_pieces(), info.macros(), room)
        else:
            _ASK[stage](client, info)
        await self._exchange(client, timeout_s)
        return self._verdict(client, question)

    def close(self) -> None:
        """End the session; a running query must be cancelled."""
        self._hang_up()
        self._discard_body()

    # --- the exchange of packets

    async def _exchange(self, client: MilterClient, timeout_s: int, connects: bool = False) -> None:
        """Exchange packets until the question is answered; a failure is an answer too."""
        try:
            if connects:
                self._hang_up()
                address = milter_address(self._entry.name)
                if address is None:
                    raise OSError("not an address such as unix:/run/milter.sock or inet:127.0.0.1:11332")
                await self._connection.connect(address, timeout_s)
            await self._talk(client, timeout_s)
        except TimeoutError:
            client.give_up(f"no answer for {timeout_s} seconds")
        except OSError as error:
            client.give_up(error.strerror or str(error))
        if client.problem:
            self._hang_up()
            self._discard_body()

    async def _talk(self, client: MilterClient, timeout_s: int) -> None:
        connection = self._connection
        limit = monotonic() + LIMIT_S
        while not client.problem:
            while output := client.take_output():
                await connection.send(output, min(timeout_s, limit - monotonic()))
            if client.answer is not None:
                return
            replies, deadline = client.replies, min(monotonic() + timeout_s, limit)
            while client.replies == replies and client.answer is None:
                data = await connection.receive(deadline - monotonic())
                if not data:
                    raise OSError("it closed the connection")
                client.receive(data)
                self._keep_body(client)

    def _hang_up(self) -> None:
        client, last = self._client, b""
        if self._connection.is_open and client is not None and not client.problem and client.answer is not None:
            client.quit()
            last = client.take_output()
        self._connection.close(last)

    def _keep_body(self, client: MilterClient) -> None:
        """Store the received part of a new body.  Fails: OSError."""
        text = client.take_body()
        if text:
            self._body = self._body or SpooledBuffer()
            self._body.append(text)

    def _discard_body(self) -> None:
        """Discard a new body that was not used."""
        if self._body is not None:
            self._body.close()
            self._body = None

    def _hello_commands(self, info: "TransactionInfo", stage: str) -> list[str]:
        """Return the earlier commands that a milter connected at this stage has missed."""
        if stage == op.CONNECTED:
            return []
        return [op.CONNECTED] if info.helo is None or stage == op.HELLO else [op.CONNECTED, op.HELLO]

    def _verdict(self, client: MilterClient, question: FilterQuery) -> FilterVerdict:
        message = question.message
        body, self._body = self._body, None
        answer = None if client.problem else client.answer
        self._health.note(self._entry, client.problem)
        if answer is not None and message is not None and answer.has_body:
            message.replace_body(body or SpooledBuffer())
        elif body is not None:
            body.close()
        if answer is not None:
            verdict = FilterVerdict(_KINDS[answer.kind], answer.lines)
            verdict.changes = answer.changes
            return verdict
        if question.stage in (op.CONNECTED, op.HELLO):
            return op.NO_VERDICT  # The client may connect and send HELO; a refusal follows at MAIL.
        return op.verdict_when_unavailable(self._entry.default)


def _connected(client: MilterClient, info: "TransactionInfo") -> None:
    client.connected(info.host, info.ip, info.port, info.macros())


# Other filters may still refuse what a milter accepts.
_KINDS = {
    wire.CONTINUE: op.CONTINUE,
    wire.ACCEPT: op.CONTINUE,
    wire.DISCARD: op.DISCARD,
    wire.REJECT: op.REFUSE,
}

_ASK: "dict[str, Callable[[MilterClient, TransactionInfo], None]]" = {
    op.CONNECTED: _connected,
    op.HELLO: lambda client, facts: client.hello(facts.helo or b"", facts.macros()),
    op.MAIL: lambda client, facts: client.mail(facts.address, facts.parameters, facts.macros()),
    op.RECIPIENT: lambda client, facts: client.recipient(facts.address, facts.parameters, facts.macros()),
    op.DATA: lambda client, facts: client.data(facts.macros()),
}
