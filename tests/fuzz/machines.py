"""Targets with a memory: machines that take bytes in any fragmentation.

Each is run twice, with the input as it is and cut into pieces, and has to say the same; what it holds back is bounded.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from eqmail_core.auth.credentials import METHODS, Credentials
from eqmail_core.dsn.parameters import parse_dsn, render_dsn
from eqmail_core.filters.message import FilteredMessage
from eqmail_core.filters.milter.client import MilterClient
from eqmail_core.mail.header import HeaderReader
from eqmail_core.pop3.authorisation import Authorisation
from eqmail_core.pop3.message_encoder import MessageText
from eqmail_core.pop3.protocol import MaildropMessage, Pop3Machine, Retrieve, Transaction, Update
from eqmail_core.qmtp.protocol import BadFraming, NetstringTooLong, QmqpReader, QmtpReader, Reader
from eqmail_core.smtp.data import BareNewline, DotStuffer, DotUnstuffer
from eqmail_core.smtp.reply_reader import MAX_WAITING, ReplyReader
from eqmail_core.smtpd.policy.plugin_protocol import PluginOutputReader
from eqmail_core.smtpd.protocol.events import BROKEN, STARTTLS, BodyPiece, Decision, SmtpEvent
from eqmail_core.smtpd.protocol.options import ServerOptions
from eqmail_core.smtpd.protocol.sasl import SaslExchange, is_over
from eqmail_core.smtpd.protocol.session import ServerProtocol
from eqmail_core.smtpd.protocol.session_streams import SessionStreams
from eqmail_core.spawn.protocol import CommandReader, rejection
from eqmail_core.system.spooled_buffer import SpooledBuffer

if TYPE_CHECKING:
    from eqmail_core.filters.milter.modifications import Change

Pieces = list[bytes]

_RULES = ServerOptions(
    b"mx.test",
    size_limit=1000,
    max_recipients=3,
    auth_methods=METHODS,
    offers_chunks=True,
    offers_notify=True,
    offers_utf8=True,
)


def same_in_pieces(run: Callable[[Pieces], object]) -> Callable[[bytes], None]:
    """A target that gives `run` the input whole and in pieces; the first byte of the input is their length."""

    def target(data: bytes) -> None:
        size = data[0] % 16 + 1 if data else 1
        data = data[1:]
        whole = run([data])
        cut = run([data[start : start + size] for start in range(0, len(data), size)])
        assert whole == cut, f"in pieces of {size}: {_difference(repr(whole), repr(cut))}"

    return target


def _difference(one: str, other: str) -> str:
    at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return f"...{one[max(0, at - 40) : at + 60]} becomes ...{other[max(0, at - 40) : at + 60]}"


@same_in_pieces
def smtp_server(pieces: Pieces) -> object:
    """Every client is accepted, without TLS."""
    return _converse(pieces)


@same_in_pieces
def bdat(pieces: Pieces) -> object:
    """What comes behind a first chunk."""
    return _converse([b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 5\r\na: bcBDAT ", *pieces])


def _next_of_any_turn(server: ServerProtocol) -> SmtpEvent | None:
    event = server.next_event()
    while event is None and server.has_more:
        server.begin_turn()
        event = server.next_event()
    return event


def _converse(pieces: Pieces) -> object:
    server = ServerProtocol(_RULES, b"unknown", lambda: b"<1.2@mx.test>")
    server.begin()
    server.answer(Decision(True, []))
    output: list[object] = []
    text, out = b"", server.take_output()
    for piece in pieces:
        server.receive(piece)
        while (event := _next_of_any_turn(server)) is not None:
            if isinstance(event, BodyPiece):
                text += event.text
            if event is BROKEN:
                text = b""
            elif not isinstance(event, BodyPiece) or event.is_last:
                known = [repr(getattr(event, name)) for name in ("address", "name", "extended") if hasattr(event, name)]
                output.append(
                    (
                        type(event).__name__,
                        known,
                        text,
                        server.sender,
                        list(server.recipients),
                        render_dsn(server.dsn),
                    )
                )
                text = b""
            if event.needs_decision:
                server.answer(Decision(event is not STARTTLS, []))
            out += server.take_output()
            assert len(server.recipients) <= 3
        out += server.take_output()
        assert server.closed or server.unread <= SessionStreams.MAX_LINE
        if server.closed:
            break
    if not server.closed and text:
        output.append(text[: len(text) - len(text) % 2048])  # how much of an unfinished text has come is free
    return output, out


def auth(data: bytes) -> None:
    """Exchanges of all methods; credentials never hold a NUL and are never empty."""
    initial, *lines = data.split(b"\n")
    for method in METHODS:
        exchange = SaslExchange(method, b"<1.2@mx.test>")
        answer = exchange.begin(initial)
        for line in lines:
            if is_over(answer):
                break
            answer = exchange.receive(line)
        if isinstance(answer, Credentials):
            assert answer.user and answer.password and b"\0" not in answer.user + answer.password
        else:
            assert answer[:3].isdigit() and b"\n" not in answer


def _messages(reader: Reader, pieces: Pieces) -> object:
    output: list[object] = []
    text = b""
    try:
        for piece in pieces:
            reader.receive(piece)
            while (event := reader.next_event()) is not None:
                if event.kind == "text":
                    text += event.value or b""
                else:
                    output.append((event.kind, event.value, text))
                    text = b""
    except (BadFraming, NetstringTooLong) as error:
        output.append(type(error).__name__)
    return output, text


@same_in_pieces
def qmtp(pieces: Pieces) -> object:
    """Messages, or a declared end."""
    return _messages(QmtpReader(), pieces)


@same_in_pieces
def qmqp(pieces: Pieces) -> object:
    """A message, or a declared end."""
    return _messages(QmqpReader(), pieces)


@same_in_pieces
def pop3(pieces: Pieces) -> object:
    """The same bytes before and after the client is known."""
    first, second = (
        Authorisation(b"<1.2@mx.test>"),
        Transaction([MaildropMessage(10, b"one"), MaildropMessage(3, b"two")]),
    )
    output: list[object] = []
    out = b""
    for machine in (first, second):
        out += machine.take_output()
        for piece in pieces:
            machine.receive(piece)
            while not machine.closed and (event := machine.next_event()) is not None:
                output.append([getattr(event, name) for name in getattr(type(event), "__slots__", ())])
                if isinstance(event, Credentials | Update):
                    machine.end()
                elif isinstance(event, Retrieve):
                    assert isinstance(machine, Transaction) and event.index in (0, 1)
                    machine.send_message()
            out += machine.take_output()
            assert len(machine._buffer) - machine._position <= Pop3Machine.MAX_LINE or machine.closed
    return output, out


@same_in_pieces
def pop3_text(pieces: Pieces) -> object:
    """A message, whole and with a few lines of its body: nothing in it looks like its end."""
    results = []
    for lines in (None, 0, 2):
        text, out = MessageText(lines), b""
        for piece in pieces:
            if text.is_over:
                break
            out += text.encode(piece)
        out += text.finish()
        assert out.find(b"\r\n.\r\n") == len(out) - 5
        results.append(out)
    return results


@same_in_pieces
def dotted(pieces: Pieces) -> object:
    """The body of a message on its way in, up to its end."""
    body, text = DotUnstuffer(), b""
    for number, piece in enumerate(pieces):
        try:
            more, rest = body.receive(piece)
        except BareNewline:
            return None
        text += more
        if rest is not None:
            return text, b"".join([rest, *pieces[number + 1 :]])
    assert len(body._held or b"") <= 4
    return text


@same_in_pieces
def dot_stuffing(pieces: Pieces) -> object:
    """A body on its way out comes in again as it was."""
    stuffing = DotStuffer()
    wire = b"".join(stuffing.encode(piece) for piece in pieces if piece)
    wire += (b"" if stuffing.at_line_start else b"\r\n") + b".\r\nQUIT\r\n"
    message = b"".join(pieces)
    expected = message if message.endswith(b"\n") or not message else message + b"\n"
    assert DotUnstuffer().receive(wire) == (expected, b"QUIT\r\n")
    return wire


@same_in_pieces
def smtp_reply(pieces: Pieces) -> object:
    """What a server answers."""
    reader, output = ReplyReader(), []
    for piece in pieces:
        reader.receive(piece)
        while (reply := reader.next_reply()) is not None:
            output.append((reply.code, reply.text))
    return output[:MAX_WAITING]  # the rest of an unrequested message is discarded as it arrives


@same_in_pieces
def plugin(pieces: Pieces) -> object:
    """The output of a plugin."""
    receiving = PluginOutputReader()
    for piece in [piece for piece in pieces if piece] + [b""]:
        receiving.receive(piece)
    return receiving.instructions


@same_in_pieces
def spawn_wire(pieces: Pieces) -> object:
    """Commands to a spawner."""
    reader = CommandReader()
    return [
        (command.delnum, command.name, command.sender, command.recipient, rejection(command))
        for piece in pieces
        for command in reader.feed(piece)
    ]


@same_in_pieces
def header(pieces: Pieces) -> object:
    """The header of a message; header and body are all that came."""
    reader = HeaderReader()
    left = iter(pieces)
    ended = any(reader.feed(piece) for piece in left)
    if not ended:
        reader.end()
    return reader.fields, reader.body + b"".join(left)


def _frames(data: bytes) -> Iterator[bytes]:
    """Packets of a milter, each complete; invalid and incomplete ones come last."""
    while len(data) >= 4:
        end = 4 + int.from_bytes(data[:4], "big")
        yield data[:end]
        data = data[end:]
    if data:
        yield data


def _asked(packets: list[Pieces]) -> object:
    """The verdict on one message of a milter that sends these packets in pieces, and what is sent to it."""
    client = MilterClient()
    left, output = iter(packets), []
    out, body = b"", b""
    for ask in (
        client.negotiate,
        lambda: client.connected(b"c.test", b"192.0.2.1", 1, {}),
        lambda: client.mail(b"a@b", [], {b"i": b"1"}),
        lambda: client.recipient(b"c@d", [], {}),
        lambda: client.data({}),
        lambda: client.message([b"A: b\n"], [b"\nbody\n"], {}, 1000),
    ):
        ask()
        while client.answer is None:
            out += client.take_output()
            if client.answer is None and client.is_awaited:
                pieces = next(left, None)
                if pieces is None:
                    client.give_up("gone")
                    break
                for piece in pieces:
                    client.receive(piece)
                body += client.take_body()
                assert len(body) <= 1000
        assert client.answer is not None
        output.append((client.answer.kind, client.answer.lines, client.answer.changes, client.answer.has_body))
    return output, out, body, _changed(client.answer.changes if client.answer is not None else [])


def _changed(changes: "list[Change]") -> object:
    """The message after such changes: its envelope has no line end and no NUL, its DSN parameters can be parsed."""
    text = b"A: b\n\nbody\n"
    draft = FilteredMessage(SpooledBuffer(), text, b"a@b", [b"c@d"], parse_dsn(b"W F E:x 0:n:"))
    draft.apply(changes)
    dsn = draft.remaining_dsn()
    assert not dsn or parse_dsn(dsn) is not None
    assert not any(byte in address for byte in b"\0\n" for address in (draft.sender, *draft.recipients))
    envelope, header = (draft.sender, draft.recipients, dsn), draft.header.render(b"")
    draft.close()
    return envelope, header


def milter(data: bytes) -> None:
    """A milter that sends arbitrary bytes; the first byte is the length of the pieces."""
    size = data[0] % 16 + 1 if data else 1
    frames = list(_frames(data[1:]))
    cut = [[frame[start : start + size] for start in range(0, len(frame), size)] for frame in frames]
    assert _asked([[frame] for frame in frames]) == _asked(cut)


def machines() -> Iterator[tuple[str, Callable[[bytes], None]]]:
    """Name and function of each target here."""
    targets = (
        smtp_server,
        auth,
        qmtp,
        qmqp,
        pop3,
        pop3_text,
        dotted,
        dot_stuffing,
        smtp_reply,
        plugin,
        spawn_wire,
        bdat,
    )
    names = "smtp_server auth qmtp qmqp pop3 pop3_text dotted dot_stuffing smtp_reply plugin spawn_wire bdat".split()
    yield from zip([*names, "header", "milter"], [*targets, header, milter], strict=True)
