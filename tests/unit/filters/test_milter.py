"""Our side of the milter protocol: what is asked, what is understood, and that nothing can be done to us."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.filters.milter import packets as wire
from eqmail_core.filters.milter.client import MilterClient
from eqmail_core.filters.milter.modifications import MAX_CHANGES
from eqmail_core.filters.milter.replies import BROKEN, CLOSING, REJECTED, TRY_LATER

CONTINUE = wire.packet(wire.CONTINUE)
FIELDS = [b"From: a@b\n", b"Subject:  two\n words\n"]


def agreed(version: int = 6, actions: int = 0x1FF, steps: int = 0, lists: bytes = b"") -> bytes:
    return wire.packet(wire.NEGOTIATE, wire.number(version) + wire.number(actions) + wire.number(steps) + lists)


def client(**agreement: int | bytes) -> MilterClient:
    milter = MilterClient()
    milter.negotiate()
    assert milter.take_output() == bytes.fromhex("0000000d 4f 00000006 000001ff") + wire.number(wire.STEPS)
    milter.receive(agreed(**agreement))  # type: ignore[arg-type]
    assert milter.answer is not None and milter.answer.kind == wire.CONTINUE
    return milter


def packets(data: bytes) -> list[tuple[bytes, bytes]]:
    reader = wire.PacketReader()
    found = list(reader.receive(data))
    assert not reader._buffer
    return found


def reported(milter: MilterClient) -> list[tuple[bytes, bytes]]:
    """Packets sent to the milter, without macros."""
    return [(letter, payload) for letter, payload in packets(milter.take_output()) if letter != wire.MACROS]


def converse(milter: MilterClient, last: bytes = CONTINUE) -> list[tuple[bytes, bytes]]:
    """Answer "continue" to everything except the end of the message; all packets sent."""
    received = []
    while milter.answer is None:
        new = reported(milter)
        received += new
        if milter.is_awaited:
            milter.receive(last if new[-1][0] == wire.END_OF_BODY else CONTINUE)
    return received


class TestQuestions:
    """Packets sent to a milter."""

    def test_connect_and_hello_are_sent(self) -> None:
        milter = client()
        for ip, port, expected in (
            (b"192.0.2.1", 25, b"mx.test\0" + b"4\0\x19192.0.2.1\0"),
            (b"2001:db8::1", 65535, b"mx.test\0" + b"6\xff\xffIPv6:2001:db8::1\0"),
            (b"", 0, b"mx.test\0U"),
        ):
            milter.connected(b"mx.test", ip, port, {})
            assert reported(milter) == [(wire.CONNECT, expected)]
            milter.receive(CONTINUE)

    def test_macros_come_first_and_are_those_of_the_stage(self) -> None:
        milter = client()
        milter.mail(b"a@b", [b"SIZE=3"], {b"i": b"7", b"j": b"mx.test", b"{mail_addr}": b"a@b", b"{auth_authen}": b""})
        assert packets(milter.take_output()) == [
            (wire.MACROS, b"Mi\0007\0{mail_addr}\0a@b\0"),
            (wire.MAIL, b"<a@b>\0SIZE=3\0"),
        ]

    def test_a_milter_chooses_its_macros(self) -> None:
        milter = client(lists=wire.number(2) + b"{x}, j\0" + wire.number(99) + b"i\0" + wire.number(3) + b"\0")
        milter.mail(b"", [], {b"i": b"7", b"j": b"mx.test", b"{x}": b"y"})
        assert packets(milter.take_output())[0] == (wire.MACROS, b"M{x}\0y\0j\0mx.test\0")
        milter.receive(CONTINUE)
        milter.recipient(b"c@d", [], {b"{rcpt_addr}": b"c@d"})
        assert packets(milter.take_output()) == [(wire.MACROS, b"R"), (wire.RECIPIENT, b"<c@d>\0")]

    def test_a_message_is_sent_field_by_field_with_crlf(self) -> None:
        milter = client()
        milter.message(FIELDS, [b"\nbo", b"dy\n"], {})
        assert converse(milter) == [
            (wire.HEADER, b"From\0a@b\0"),
            (wire.HEADER, b"Subject\0 two\n words\0"),
            (wire.END_OF_HEADER, b""),
            (wire.BODY, b"\r\nbody\r\n"),
            (wire.END_OF_BODY, b""),
        ]

    def test_leading_space_is_kept_where_it_was_agreed_on(self) -> None:
        milter = client(steps=wire.LEADING_SPACE)
        milter.message(FIELDS, [], {})
        assert converse(milter)[:2] == [(wire.HEADER, b"From\0 a@b\0"), (wire.HEADER, b"Subject\0  two\n words\0")]

    def test_a_long_body_goes_in_chunks(self) -> None:
        milter = client()
        milter.message([], [b"x" * 63 + b"\n"] * 3000, {})
        chunks = [payload for letter, payload in converse(milter) if letter == wire.BODY]
        assert [len(chunk) for chunk in chunks] == [65535, 65535, 3000 * 65 - 2 * 65535]
        assert b"".join(chunks) == (b"x" * 63 + b"\r\n") * 3000

    def test_an_unanswered_message_is_sent_in_bounded_pieces(self) -> None:
        milter = client(steps=wire.SILENT[wire.BODY])
        milter.message([], (b"x" * 65536 for _ in range(200)), {})
        milter.take_output()
        milter.receive(CONTINUE)  # to the end of the header
        sizes = []
        while not milter.is_awaited:
            sizes.append(len(milter.take_output()))
        assert sum(sizes) > 200 * 65536
        assert max(sizes) < 4 * 65536

    def test_declined_steps_are_not_sent(self) -> None:
        every = 0
        for bit in wire.UNASKED.values():
            every |= bit
        milter = client(steps=every)
        milter.connected(b"x", b"", 0, {})
        assert milter.answer is not None and not milter.take_output()
        milter.message(FIELDS, [b"\nbody\n"], {})
        assert converse(milter) == [(wire.END_OF_BODY, b"")]

    def test_a_version_2_milter_gets_no_data_command(self) -> None:
        milter = client(version=2, actions=0x3F, steps=0x7F & ~0x20)
        milter.data({})
        assert milter.answer is not None and not milter.take_output()
        milter = client(version=4)
        milter.data({})
        assert reported(milter) == [(wire.DATA, b"")]

    def test_skip_ends_the_body(self) -> None:
        milter = client()
        milter.message([], [b"x" * 65536] * 10, {})
        received = []
        while milter.answer is None:
            received += [letter for letter, _ in reported(milter)]
            milter.receive(wire.packet(wire.SKIP) if received[-1] == wire.BODY else CONTINUE)
        assert received == [wire.END_OF_HEADER, wire.BODY, wire.END_OF_BODY]

    def test_an_abandoned_message_is_aborted_once(self) -> None:
        milter = client()
        milter.abort()
        assert not milter.take_output()
        milter.mail(b"a", [], {})
        milter.receive(CONTINUE)
        milter.take_output()
        milter.abort()
        milter.abort()
        assert reported(milter) == [(wire.ABORT, b"")]
        milter.mail(b"a", [], {})
        milter.receive(CONTINUE)
        milter.mail(b"b", [], {})
        assert [letter for letter, _ in reported(milter)] == [wire.MAIL, wire.ABORT, wire.MAIL]
        milter.receive(CONTINUE)
        milter.quit()
        assert reported(milter) == [(wire.QUIT, b"")]


class TestAnswers:
    """What is understood."""

    def asked(self, answer: bytes) -> MilterClient:
        milter = client()
        milter.mail(b"a@b", [], {})
        milter.take_output()
        milter.receive(answer)
        return milter

    @pytest.mark.parametrize(
        ("answer", "lines"),
        [
            (wire.packet(wire.REJECT), [REJECTED]),
            (wire.packet(wire.TEMPFAIL), [TRY_LATER]),
            (wire.packet(wire.SHUTDOWN), [CLOSING]),
            (wire.packet(wire.REPLY_CODE, b"550 5.7.1 no\0"), [b"550 5.7.1 no"]),
            (wire.packet(wire.REPLY_CODE, b"451 so\r\n"), [b"451 so"]),
            (wire.packet(wire.REPLY_CODE, b"550"), [b"550 "]),
            (wire.packet(wire.REPLY_CODE, b"554-a\r\n554-b\x1b[\r\n554 c\0"), [b"554-a", b"554-b[", b"554 c"]),
        ],
    )
    def test_refusals(self, answer: bytes, lines: list[bytes]) -> None:
        found = self.asked(answer).answer
        assert found is not None and (found.kind, found.lines) == (wire.REJECT, lines)

    @pytest.mark.parametrize(
        "answer",
        [
            wire.packet(wire.REPLY_CODE, b"250 fine\0"),
            wire.packet(wire.REPLY_CODE, b"5x0 no\0"),
            wire.packet(wire.REPLY_CODE, b""),
            wire.packet(wire.REPLY_CODE, b"550-a\r\n551 b\0"),
            wire.packet(wire.REPLY_CODE, b"550-a\r\n" * 100),
            wire.packet(wire.REPLY_CODE, b"550 " + b"x" * 1000),
            wire.packet(wire.ADD_HEADER, b"X\0y\0"),
            wire.packet(b"\xff"),
            wire.packet(b"?", b"x" * 100),
            b"\0\0\0\0",
            b"\xff\xff\xff\xff",
            b"HTTP/1.1 400 Bad Request\r\n",
            CONTINUE + CONTINUE,
        ],
    )
    def test_malformed_replies_disable_this_milter_only(self, answer: bytes) -> None:
        milter = self.asked(answer)
        assert milter.problem
        assert milter.answer is not None and milter.answer.kind == BROKEN
        milter.recipient(b"c@d", [], {})
        assert milter.answer.kind == BROKEN and not milter.take_output()

    @pytest.mark.parametrize(
        "answer",
        [
            agreed(version=7),
            agreed(version=1),
            agreed(actions=0x200),
            agreed(steps=0x200000),
            wire.packet(wire.NEGOTIATE, b"\0\0\0\6"),
            CONTINUE,
        ],
    )
    def test_no_agreement(self, answer: bytes) -> None:
        milter = MilterClient()
        milter.negotiate()
        milter.receive(answer)
        assert milter.problem

    def test_unsupported_actions_are_not_negotiated(self) -> None:
        milter = MilterClient(0x1DF)
        milter.negotiate()
        milter.receive(agreed(actions=0x21))
        assert milter.problem == "it wants to change what we cannot change (0x20)"

    def test_accept_at_connect_ends_the_session(self) -> None:
        milter = client()
        milter.connected(b"x", b"", 0, {})
        milter.receive(wire.packet(wire.ACCEPT))
        milter.take_output()
        milter.mail(b"a", [], {})
        milter.message(FIELDS, [], {})
        milter.mail(b"a", [], {})
        assert not milter.take_output()
        milter.quit()
        assert reported(milter) == [(wire.QUIT, b"")]

    @pytest.mark.parametrize("kind", [wire.ACCEPT, wire.DISCARD])
    def test_accept_of_a_message_counts_for_that_message_only(self, kind: bytes) -> None:
        milter = self.asked(wire.packet(kind))
        assert milter.answer is not None and milter.answer.kind == kind
        milter.recipient(b"c", [], {})
        milter.message(FIELDS, [], {})
        assert milter.answer.kind == wire.CONTINUE and not milter.take_output()
        milter.mail(b"b", [], {})
        assert [letter for letter, _ in reported(milter)] == [wire.ABORT, wire.MAIL]

    def test_progress_does_not_end_the_wait(self) -> None:
        milter = self.asked(wire.packet(wire.PROGRESS) * 3)
        assert milter.answer is None and milter.replies == 4
        milter.receive(CONTINUE)
        assert milter.answer is not None


class TestChanges:
    """What a milter may change."""

    def changed(self, *changes: bytes, steps: int = 0, max_body: int = 1000) -> MilterClient:
        milter = client(steps=steps)
        milter.message([], [], {}, max_body)
        converse(milter, b"".join([*changes, CONTINUE]))
        return milter

    def test_changes_keep_their_order(self) -> None:
        answer = self.changed(
            wire.packet(wire.ADD_HEADER, b"X-A\0one\n two\r\n\r\nthree\0"),
            wire.packet(wire.INSERT_HEADER, b"\0\0\0\1X-B\0b\0"),
            wire.packet(wire.CHANGE_HEADER, b"\0\0\0\2X-C\0\0"),
            wire.packet(wire.ADD_RECIPIENT, b"<x@y>\0"),
            wire.packet(wire.ADD_RECIPIENT_PARAMETERS, b"<z@y>\0NOTIFY=NEVER\0"),
            wire.packet(wire.DELETE_RECIPIENT, b"<c@d>\0"),
            wire.packet(wire.CHANGE_SENDER, b"<>\0"),
            wire.packet(wire.QUARANTINE, b"a virus\nindeed\0"),
        ).answer
        assert answer is not None and answer.kind == wire.CONTINUE and not answer.has_body
        assert answer.changes == [
            (wire.ADD_HEADER, 0, b"X-A", b" one\n two\n\tthree"),
            (wire.INSERT_HEADER, 1, b"X-B", b" b"),
            (wire.CHANGE_HEADER, 2, b"X-C", b""),
            (wire.ADD_RECIPIENT, 0, b"x@y", b""),
            (wire.ADD_RECIPIENT_PARAMETERS, 0, b"z@y", b"NOTIFY=NEVER"),
            (wire.DELETE_RECIPIENT, 0, b"c@d", b""),
            (wire.CHANGE_SENDER, 0, b"", b""),
            (wire.QUARANTINE, 0, b"a virus indeed", b""),
        ]

    def test_leading_space_is_the_milters_where_it_was_agreed_on(self) -> None:
        answer = self.changed(wire.packet(wire.ADD_HEADER, b"X\0  y\0"), steps=wire.LEADING_SPACE).answer
        assert answer is not None and answer.changes == [(wire.ADD_HEADER, 0, b"X", b"  y")]

    @pytest.mark.parametrize(
        ("pieces", "text"), [((b"a\r", b"\nb\r\n"), b"a\nb\n"), ((b"",), b""), ((b"a\r",), b"a\r")]
    )
    def test_a_new_body_comes_in_pieces(self, pieces: tuple[bytes, ...], text: bytes) -> None:
        milter = self.changed(*[wire.packet(wire.REPLACE_BODY, piece) for piece in pieces])
        assert milter.answer is not None and milter.answer.has_body
        assert milter.take_body() == text

    @pytest.mark.parametrize(
        "change",
        [
            wire.packet(wire.ADD_HEADER, b"X Y\0y\0"),
            wire.packet(wire.ADD_HEADER, b"X:y\0\0"),
            wire.packet(wire.ADD_HEADER, b"\0y\0"),
            wire.packet(wire.ADD_HEADER, b""),
            wire.packet(wire.INSERT_HEADER, b"\0\0"),
            wire.packet(wire.ADD_RECIPIENT, b"<>\0"),
            wire.packet(wire.ADD_RECIPIENT, b"<a\n@b>\0"),
            wire.packet(wire.DELETE_RECIPIENT, b""),
            wire.packet(wire.CHANGE_SENDER, b"x" * 2000),
            wire.packet(wire.REPLACE_BODY, b"x" * 1001),
            wire.packet(wire.ADD_HEADER, b"X\0y\0") * (MAX_CHANGES + 1),
            wire.packet(wire.ADD_HEADER, b"X\0" + b"y" * 100_000 + b"\0") * 11,
            wire.packet(wire.SKIP),
        ],
    )
    def test_impossible_changes_disable_this_milter_only(self, change: bytes) -> None:
        assert self.changed(change).problem

    def test_changes_without_the_negotiated_right_are_refused(self) -> None:
        milter = client(actions=0x01)
        milter.message([], [], {})
        converse(milter, wire.packet(wire.ADD_RECIPIENT, b"<x@y>\0"))
        assert milter.problem == "a change '+' that was not agreed on"


PLUGIN_OUTPUT = st.lists(
    st.one_of(
        st.builds(
            wire.packet,
            st.sampled_from([bytes([letter]) for letter in b"cartdyspOhim+2-ebq4?"]),
            st.one_of(
                st.binary(max_size=40), st.sampled_from([b"550 5.7.1 no\0", b"X-A\0b\0", b"\0\0\0\1X\0y\0", b"<a@b>\0"])
            ),
        ),
        st.binary(max_size=12),
        st.just(agreed()),
        st.just(agreed(steps=0xFF000)),
    ),
    max_size=30,
)


def dialogue(pieces: list[bytes]) -> tuple[object, ...]:
    """A whole session with a milter that replies with these bytes."""
    milter = MilterClient()
    data = iter(pieces)
    output: list[object] = []
    out = b""
    steps = [
        milter.negotiate,
        lambda: milter.connected(b"x", b"192.0.2.1", 1, {}),
        lambda: milter.hello(b"y", {}),
        lambda: milter.mail(b"a", [], {}),
        lambda: milter.recipient(b"b", [], {}),
        lambda: milter.data({}),
        lambda: milter.message(FIELDS, [b"\nbody\n"], {}),
    ]
    body = b""
    for ask in steps:
        ask()
        while milter.answer is None:
            out += milter.take_output()
            if milter.is_awaited and milter.answer is None:
                piece = next(data, None)
                if piece is None:
                    milter.give_up("lost")
                else:
                    milter.receive(piece)
                    body += milter.take_body()
        output.append((milter.answer.kind, milter.answer.lines, milter.answer.changes, milter.answer.has_body))
    return output, out, body


@given(PLUGIN_OUTPUT)
def test_no_reply_of_a_milter_raises(exchange: list[bytes]) -> None:
    dialogue(exchange)


@given(PLUGIN_OUTPUT, st.lists(st.integers(1, 50)))
def test_packets_do_not_depend_on_fragmentation(exchange: list[bytes], cuts: list[int]) -> None:
    data = b"".join(exchange)

    def read(pieces: list[bytes]) -> list[object]:
        reader = wire.PacketReader()
        found: list[object] = []
        try:
            for piece in pieces:
                found.extend(reader.receive(piece))
                assert len(reader._buffer) < wire.MAX_PACKET + 4
        except wire.MilterProtocolError as error:
            found.append(str(error))
        return found

    pieces, rest = [], data
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    assert read([*pieces, rest]) == read([bytes([byte]) for byte in data]) == read([data])


@given(st.lists(st.integers(1, 9)))
def test_a_conversation_does_not_depend_on_fragmentation(cuts: list[int]) -> None:
    answers = [agreed(), *[CONTINUE] * 8, wire.packet(wire.REPLACE_BODY, b"a\r\n"), wire.packet(wire.PROGRESS)]
    answers += [wire.packet(wire.ADD_HEADER, b"X\0y\0"), wire.packet(wire.REPLACE_BODY, b"b\r\n"), CONTINUE]
    expected = dialogue([b"".join(answers[:1]), *answers[1:]])
    pieces = []
    for number, answer in enumerate(answers):
        cut = cuts[number % len(cuts)] if cuts else 1
        pieces += [answer[start : start + cut] for start in range(0, len(answer), cut)]
    assert dialogue(pieces) == expected


def test_a_milter_that_never_ends_is_cut_off() -> None:
    milter = client()
    milter.message([], [], {}, 1 << 22)
    milter.take_output()
    milter.receive(CONTINUE)
    milter.take_output()
    tracemalloc.start()
    flood = wire.packet(wire.REPLACE_BODY, b"x" * 65000)
    while not milter.problem:
        milter.receive(flood)
        assert milter.take_body() or milter.problem
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
