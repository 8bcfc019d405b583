"""A milter as a filter of one session: when to connect, what to ask, and what replies mean.

I/O is left to `blocking_milter` and `async_milter`: `start` returns a generator that yields their next action.  After
a failure, the milter is connected again when the next message begins, and then gets the client's data.

Fails: never; an unavailable milter gives the default verdict of its entry.
"""

from eqmail_core.control.filter_entries import FilterEntry, milter_address
from eqmail_core.filters import verdict as op
from eqmail_core.filters.milter import packets as wire
from eqmail_core.filters.milter.client import MilterClient
from eqmail_core.filters.verdict import FilterQuery, FilterVerdict
from eqmail_core.system.spooled_buffer import SpooledBuffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from eqmail_core.filters.transaction import TransactionInfo

CONNECT, TALK = "connect", "talk"
"""What `start` yields: make a new connection for `client`.

Exchange packets until `client.answer`.
"""

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
    """One milter and one client.  `timeout_s`: for a reply; `address`: as from `milter_address`."""

    __slots__ = ("_body", "_entry", "_health", "address", "client", "timeout_s")
    stages = _STAGES

    def __init__(self, entry: FilterEntry, health: MilterHealth) -> None:
        self._entry = entry
        self._health = health
        self._body: SpooledBuffer | None = None
        self.address = milter_address(entry.name)
        self.client: MilterClient | None = None
        self.timeout_s = entry.timeout_s

    def start(self, question: FilterQuery) -> "Generator[str, None, FilterVerdict]":
        """Query the milter: yields the next actions and returns the verdict."""
        info, stage = question.info, question.stage
        self.timeout_s = self._entry.timeout_s
        client = self.client
        if client is None or (client.problem and stage in (op.CONNECTED, op.MAIL)):
            client = self.client = MilterClient()
            yield CONNECT
            client.negotiate()
            yield TALK
            for known in self._hello_commands(info, stage):
                _ASK[known](client, info)
                yield TALK
                if client.answer is not None and client.answer.kind == wire.REJECT:
                    return self._verdict(question)
        if stage == op.MESSAGE and question.message is not None:
            self.timeout_s = min(self._entry.timeout_s * _MESSAGE_TIMEOUT_FACTOR, LIMIT_S)
            message = question.message
            room = _NEW_BODY_BYTES + _NEW_BODY_TIMES * message.size
            client.message(list(message.header.fields), message.body_pieces(), info.macros(), room)
        else:
            _ASK[stage](client, info)
        yield TALK
        return self._verdict(question)

    def finish(self) -> None:
        """Store the received part of a new body.

        Call it after every `client.receive`.  Fails: OSError.
        """
        text = self.client.take_body() if self.client is not None else b""
        if text:
            self._body = self._body or SpooledBuffer()
            self._body.append(text)

    def discard_body(self) -> None:
        """Discard a new body that was not used."""
        if self._body is not None:
            self._body.close()
            self._body = None

    def _hello_commands(self, info: "TransactionInfo", stage: str) -> list[str]:
        """Return the earlier commands that a milter connected at this stage has missed."""
        if stage == op.CONNECTED:
            return []
        return [op.CONNECTED] if info.helo is None or stage == op.HELLO else [op.CONNECTED, op.HELLO]

    def _verdict(self, question: FilterQuery) -> FilterVerdict:
        client, message = self.client, question.message
        body, self._body = self._body, None
        answer = client.answer if client is not None and not client.problem else None
        self._health.note(self._entry, client.problem if client is not None else "")
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
