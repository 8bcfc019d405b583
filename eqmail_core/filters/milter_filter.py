"""A milter as a filter of one conversation: when it is connected to, what it is asked, and what its answers mean.

How bytes travel is left to `milter_waiting` and `milter_on_loop`: `hold` is a generator that tells them what to do
next.  A milter that broke is connected to again when the next message begins, and gets to know the client then.

Fails: never; a milter that cannot be asked has the opinion that its entry says.
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
"""What `hold` asks for: a new connection for `client`; carry on until `client.answer`."""

LIMIT_S = 600
"""No longer than that is waited, whatever progress is made: clients do not wait longer (RFC 5321 section 4.5.3.2)."""

_MESSAGE_TIMEOUT_FACTOR = 10

# A new body may be as long as that, and some times as long as the message was.
_NEW_BODY_BYTES = 16 << 20
_NEW_BODY_TIMES = 4

_STAGES = frozenset((op.CONNECTED, op.HELLO, op.MAIL, op.RECIPIENT, op.DATA, op.MESSAGE))


class MilterHealth:
    """Which milters are known to be in trouble, so that the log tells it once, and once when they are back."""

    __slots__ = ("_failing", "_write_log")

    def __init__(self, write_log: "Callable[[str], None]") -> None:
        self._write_log = write_log
        self._failing: set[bytes] = set()

    def note(self, entry: FilterEntry, problem: str) -> None:
        """A milter could be asked (b""), or could not."""
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
    """One milter and one client.  `timeout_s`: for an answer; `address`: as of `milter_address`."""

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
        """Ask: yields what is to be done next; its value is the opinion."""
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
        """Put aside what has come of a new body; call it after every `client.receive`.  Fails: OSError."""
        text = self.client.take_body() if self.client is not None else b""
        if text:
            self._body = self._body or SpooledBuffer()
            self._body.append(text)

    def discard_body(self) -> None:
        """A new body that nobody took is none."""
        if self._body is not None:
            self._body.close()
            self._body = None

    def _hello_commands(self, info: "TransactionInfo", stage: str) -> list[str]:
        """What a milter has missed that is connected to at this stage."""
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
            return op.NO_VERDICT  # a client may introduce itself; it is told when it wants something
        return op.verdict_when_unavailable(self._entry.default)


def _connected(client: MilterClient, info: "TransactionInfo") -> None:
    client.connected(info.host, info.ip, info.port, info.macros())


# What a milter accepts other filters may still refuse.
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
