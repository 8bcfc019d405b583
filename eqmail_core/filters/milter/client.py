"""MTA side of a milter session about one SMTP client; performs no I/O.

Input     milter bytes in any fragmentation, and one question after the other.
Output    bytes to send, and a MilterReply to each question, with the changes of a message.
Fails     never on milter input: a protocol error or excessive input is the reply BROKEN, then to every question.
          A broken connection or a timeout is an input as well (`give_up`).
Bounded   holds at most one packet, MAX_CHANGES, and the untaken piece of a new body.

Source: libmilter of Sendmail 8.17; Postfix's MILTER_README.
"""

from eqmail_core.filters.milter import packets as wire
from eqmail_core.filters.milter.modifications import HEADERS, MAX_CHANGE_BYTES, MAX_CHANGES, NewBody, read_change
from eqmail_core.filters.milter.negotiation import ALL_ACTIONS, Agreement
from eqmail_core.filters.milter.packets import MilterProtocolError
from eqmail_core.filters.milter.replies import BROKEN, VERDICTS, MilterReply, read_verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from eqmail_core.filters.milter.modifications import Change

    Macros = dict[bytes, bytes]

# Maximum output built before some of it must be taken.
_ENOUGH = 1 << 17

_OF_CONNECTION = (wire.CONNECT, wire.HELO)


class MilterClient:
    """One milter session: after a question, send and `receive` until `answer` is not None.

    `actions`: the bits of the supported modifications.  `replies`: number of replies received; `agreement`: the result
    of the negotiation; `problem`: why the milter is unusable.
    """

    __slots__ = (
        "_asked",
        "_awaited",
        "_body",
        "_bytes",
        "_changes",
        "_in_message",
        "_is_done_with",
        "_output",
        "_queue",
        "_reader",
        "_skipped",
        "agreement",
        "answer",
        "problem",
        "replies",
    )

    def __init__(self, actions: int = ALL_ACTIONS) -> None:
        self._asked = b""
        self._awaited = b""
        self._in_message = False
        # What the milter accepts without further questions: b"" nothing, CONNECT everything, MAIL this message.
        self._is_done_with = b""
        self._output: list[bytes] = []
        self._queue: Iterator[tuple[bytes, bytes]] = iter(())
        self._reader = wire.PacketReader()
        self._skipped: set[bytes] = set()
        self.agreement = Agreement(actions)
        self.answer: MilterReply | None = None
        self.replies = 0
        self.problem = ""
        self._expect_changes(0)

    # --- questions

    def negotiate(self) -> None:
        """Begin the negotiation.  The answer is CONTINUE or BROKEN."""
        self._ask(wire.NEGOTIATE, [(wire.NEGOTIATE, self.agreement.offer())])

    def connected(self, host: bytes, ip: bytes, port: int, macros: "Macros") -> None:
        """Report a connection; `host`: its name or its address in brackets; `ip`: b"" if unknown."""
        payload = wire.texts(host) + b"U"
        if ip:
            family, address = (b"6", b"IPv6:" + ip) if b":" in ip else (b"4", ip)
            payload = wire.texts(host) + family + port.to_bytes(2, "big") + wire.texts(address)
        self._ask_with_macros(wire.CONNECT, payload, macros)

    def hello(self, name: bytes, macros: "Macros") -> None:
        """Report HELO or EHLO of the client."""
        self._ask_with_macros(wire.HELO, wire.texts(name), macros)

    def mail(self, sender: bytes, parameters: "Iterable[bytes]", macros: "Macros") -> None:
        """Report MAIL; the state of a former message is discarded."""
        self.abort()
        self._in_message = True
        self._ask_with_macros(wire.MAIL, wire.texts(b"<%b>" % sender, *parameters), macros)

    def recipient(self, address: bytes, parameters: "Iterable[bytes]", macros: "Macros") -> None:
        """Report one RCPT."""
        self._ask_with_macros(wire.RECIPIENT, wire.texts(b"<%b>" % address, *parameters), macros)

    def data(self, macros: "Macros") -> None:
        """Report DATA."""
        self._ask_with_macros(wire.DATA, b"", macros)

    def message(
        self, fields: "Iterable[bytes]", body: "Iterable[bytes]", macros: "Macros", max_body: int = 1 << 24
    ) -> None:
        """Send a complete message: header fields with their LF, and the body in pieces, on demand.

        A new body may have `max_body` bytes; fetch it with `take_body` after every `receive`.  Exceptions of the
        iterables pass through `take_output` and `receive`; then call `give_up`.
        """
        self._expect_changes(max_body)
        self._ask(wire.END_OF_BODY, self._message(fields, body, macros))

    def abort(self) -> None:
        """Abort the message, if there is one; there is no reply."""
        if self._in_message and not self.problem and self._is_done_with != wire.CONNECT:
            self._output.append(wire.packet(wire.ABORT))
        self._in_message = False
        self._skipped.clear()
        if self._is_done_with == wire.MAIL:
            self._is_done_with = b""

    def quit(self) -> None:
        """Send QUIT; the connection may be closed once it is sent."""
        if not self.problem:
            self._output.append(wire.packet(wire.QUIT))

    # --- driver interface

    def take_output(self) -> bytes:
        """Return the bytes to send now.

        More may follow without a reply, so call again once they are sent.
        """
        if self.answer is None and not self._awaited:
            self._send_next()
        output = b"".join(self._output)
        self._output.clear()
        return output

    def receive(self, data: bytes) -> None:
        """Process bytes from the milter."""
        if self.problem:
            return
        try:
            for letter, payload in self._reader.receive(data):
                self._on_reply(letter, payload)
        except MilterProtocolError as error:
            self.give_up(str(error))

    def give_up(self, problem: str) -> None:
        """Mark the milter as unusable: disconnected, timed out, or protocol error."""
        if not self.problem:
            self.problem = problem
            self._output.clear()
            self._finish(MilterReply(BROKEN, text=problem))

    def take_body(self) -> bytes:
        """Return the new body received since the last call, with LF line ends."""
        return self._body.take()

    @property
    def is_awaited(self) -> bool:
        """Whether a reply of the milter is needed now."""
        return self._awaited != b""

    # --- sending

    def _ask_with_macros(self, command: bytes, payload: bytes, macros: "Macros") -> None:
        self._ask(command, [(wire.MACROS, self.agreement.macros(command, macros)), (command, payload)])

    def _ask(self, command: bytes, packets: "Iterable[tuple[bytes, bytes]]") -> None:
        self._asked = command
        self.answer = None
        if self.problem:
            self._finish(MilterReply(BROKEN, text=self.problem))
        elif self._is_done_with or command in self._skipped or not self.agreement.wants(command):
            self._finish(MilterReply(wire.CONTINUE))
        else:
            self._queue = iter(packets)
            self._send_next()

    def _message(
        self, fields: "Iterable[bytes]", body: "Iterable[bytes]", macros: "Macros"
    ) -> "Iterator[tuple[bytes, bytes]]":
        agreement = self.agreement
        if agreement.wants(wire.HEADER):
            for field in fields:
                if wire.HEADER in self._skipped:
                    break
                yield wire.HEADER, agreement.header(field)
        if agreement.wants(wire.END_OF_HEADER):
            yield wire.MACROS, agreement.macros(wire.END_OF_HEADER, macros)
            yield wire.END_OF_HEADER, b""
        if agreement.wants(wire.BODY):
            for chunk in wire.body_chunks(body):
                if wire.BODY in self._skipped:
                    break
                yield wire.BODY, chunk
        yield wire.MACROS, agreement.macros(wire.END_OF_BODY, macros)
        yield wire.END_OF_BODY, b""

    def _send_next(self) -> None:
        """Build packets until one needs a reply, or there are enough for now."""
        size = sum(map(len, self._output))
        while size < _ENOUGH:
            step = next(self._queue, None)
            if step is None:
                self._finish(MilterReply(wire.CONTINUE))
                return
            command, payload = step
            self._output.append(wire.packet(command, payload))
            size += len(payload)
            if not self.agreement.is_silent(command):
                self._awaited = command
                return

    def _finish(self, answer: MilterReply) -> None:
        self._queue = iter(())
        self._awaited = b""
        self.answer = answer

    # --- receiving

    def _on_reply(self, letter: bytes, payload: bytes) -> None:
        self.replies += 1
        awaited = self._awaited
        if letter == wire.PROGRESS:
            return
        if not awaited:
            raise MilterProtocolError("an answer to no question")
        if awaited == wire.NEGOTIATE:
            if letter != wire.NEGOTIATE:
                raise MilterProtocolError("no answer to what we offer")
            self.agreement.conclude(payload)
            self._finish(MilterReply(wire.CONTINUE))
        elif awaited == wire.END_OF_BODY and letter in wire.ACTIONS:
            self._note_change(letter, payload)
        elif letter in (wire.CONTINUE, wire.SKIP) and awaited != wire.END_OF_BODY:
            if letter == wire.SKIP:
                self._skipped.add(awaited)
            self._awaited = b""
            self._send_next()
        elif letter == wire.CONTINUE:
            self._conclude(MilterReply(wire.CONTINUE))
        elif letter in VERDICTS:
            self._conclude(read_verdict(letter, payload))
        else:
            raise MilterProtocolError(f"an answer {letter.decode('latin-1')!r} to {awaited.decode()!r}")

    def _conclude(self, answer: MilterReply) -> None:
        if self._asked in _OF_CONNECTION:
            if answer.kind == wire.DISCARD:
                raise MilterProtocolError("it would discard a connection")
            if answer.kind == wire.ACCEPT:
                self._is_done_with = wire.CONNECT
        elif answer.kind in (wire.ACCEPT, wire.DISCARD):
            self._is_done_with = wire.MAIL
        if self._asked == wire.END_OF_BODY:
            self._body.end()
            answer.changes, answer.has_body = self._changes, self._body.has_begun
            self._in_message = False
            self._is_done_with = b""
            self._skipped.clear()
        self._finish(answer)

    # --- changes

    def _expect_changes(self, room: int) -> None:
        self._bytes = 0
        self._changes: list[Change] = []
        self._body = NewBody(room)

    def _note_change(self, letter: bytes, payload: bytes) -> None:
        if not self.agreement.may(letter):
            raise MilterProtocolError(f"a change {letter.decode()!r} that was not agreed on")
        if letter == wire.REPLACE_BODY:
            self._body.receive(payload)
            return
        self._bytes += len(payload)
        if len(self._changes) >= MAX_CHANGES or self._bytes > MAX_CHANGE_BYTES:
            raise MilterProtocolError("too many changes")
        letter, index, name, value = read_change(letter, payload)
        if value and letter in HEADERS and not self.agreement.keeps_leading_space:
            value = b" " + value
        self._changes.append((letter, index, name, value))
