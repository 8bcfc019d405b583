"""Chunks, statuses before the text, and limits, as far as the SMTP machine decides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.auth.credentials import METHODS
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.events import BROKEN
from eqmail_core.smtpd.protocol.options import ServerOptions
from tests.unit.smtpd.test_session import Client, codes

OPEN = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"


class TestChunks:
    """BDAT."""

    @pytest.mark.parametrize("words", [b"BODY=BINARYMIME", b"SIZE=3 body=binarymime RET=FULL"])
    def test_binary_data_is_not_taken_for_lines(self, words: bytes) -> None:
        client = Client(self.RULES)
        assert b"BINARYMIME" not in client.send(b"EHLO x\r\n")
        assert codes(client.send(b"MAIL FROM:<a@b> %b\r\nMAIL FROM:<a@b> BODY=8BITMIME\r\n" % words)) == [555, 250]

    RULES = ServerOptions(b"mx", offers_chunks=True)

    def test_a_message_can_come_in_chunks(self) -> None:
        client = Client(self.RULES)
        replies = client.send(OPEN + b"BDAT 5\r\n.a\r\n.BDAT 3 last\r\nb\r\nBDAT 0 LAST\r\nNOOP\r\n")
        assert codes(replies) == [250, 250, 250, 250, 503, 250]
        assert client.messages == [(b"a@b", [b"c@d"], b".a\n.b\n")]

    def test_the_end_may_be_an_empty_chunk_and_a_last_line_is_ended(self) -> None:
        client = Client(self.RULES)
        assert codes(client.send(OPEN + b"BDAT 3\r\na\r\nBDAT 1\r\nbBDAT 0 LAST\r\n"))[2:] == [250, 250, 250]
        assert client.messages[0][2] == b"a\nb\n"

    def test_a_message_can_be_empty(self) -> None:
        client = Client(self.RULES)
        client.send(OPEN + b"BDAT 0 LAST\r\n")
        assert client.messages[0][2] == b""

    def test_it_is_unknown_unless_offered(self) -> None:
        assert codes(Client().send(b"BDAT 3 LAST\r\n")) == [500]
        assert b"CHUNKING" not in Client().send(b"EHLO x\r\n")
        assert b"CHUNKING" in Client(self.RULES).send(b"EHLO x\r\n")

    @pytest.mark.parametrize("opening", [b"", b"MAIL FROM:<a>\r\n"])
    def test_the_bytes_of_a_refused_chunk_are_no_commands(self, opening: bytes) -> None:
        client = Client(self.RULES)
        replies = client.send(opening + b"BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
        assert codes(replies)[-3:] == [503, 503, 250]
        assert not client.core.closed

    def test_nothing_else_comes_between_chunks(self) -> None:
        client = Client(self.RULES)
        replies = client.send(OPEN + b"BDAT 1\r\nxMAIL FROM:<e>\r\nDATA\r\nRSET\r\nMAIL FROM:<e>\r\n")
        assert codes(replies)[2:] == [250, 503, 503, 250, 250]
        assert not client.messages

    @pytest.mark.parametrize("name", [b"HELO x", b"EHLO x"])
    def test_a_second_ehlo_ends_a_message_in_chunks(self, name: bytes) -> None:
        client = Client(self.RULES)
        client.send(OPEN + b"BDAT 1\r\nx" + name + b"\r\n")
        assert client.events[-1].restarts
        assert not client.core.in_body
        assert codes(client.send(b"BDAT 1 LAST\r\nxRCPT TO:<b>\r\n")) == [503, 503]
        assert not client.messages

    @pytest.mark.parametrize("size", [b"", b"x", b"-1", b"1 LAST LAST", b"1 FIRST", b"9" * 13])
    def test_a_chunk_of_unknown_length_ends_everything(self, size: bytes) -> None:
        client = Client(self.RULES)
        assert codes(client.send(OPEN + b"BDAT %b\r\nMAIL FROM:<evil>\r\n" % size))[2:] == [501]
        assert client.core.closed

    def test_a_bare_newline_is_refused_as_in_data(self) -> None:
        client = Client(self.RULES)
        client.send(OPEN + b"BDAT 4\r\na\nb\n")
        assert client.events[-1] is BROKEN
        assert client.core.closed


LINES = st.sampled_from([b"", b"a", b".", b"..", b".a", b"bb"])


@given(st.lists(LINES, max_size=12), st.lists(st.integers(0, 9), max_size=8))
def test_chunks_and_data_give_the_same_message(lines: list[bytes], sizes: list[int]) -> None:
    one, other = Client(), Client(ServerOptions(b"mx", offers_chunks=True))
    one.send(OPEN + b"DATA\r\n" + b"".join(b"." * line.startswith(b".") + line + b"\r\n" for line in lines) + b".\r\n")
    other.send(OPEN)
    rest = b"".join(line + b"\r\n" for line in lines)
    for size in sizes:
        chunk, rest = rest[:size], rest[size:]
        other.send(b"BDAT %d\r\n%b" % (len(chunk), chunk))
    other.send(b"BDAT %d LAST\r\n%b" % (len(rest), rest))
    assert other.messages == one.messages


WORDS = st.sampled_from(
    [b"BDAT 3\r\n", b"BDAT 0 LAST\r\n", b"BDAT 9 last\r\n", b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n", b"DATA\r\n",
     b"RSET\r\n", b".\r\n", b"NOOP\r\n", b"x", b"\r", b"\r\n", b"BDAT\r\n", b"QUIT\r\n"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=25).map(b"".join))
def test_fragmentation_makes_no_difference_to_chunks_and_limits(client_data: bytes) -> None:
    rules = ServerOptions(b"mx", offers_chunks=True, enhanced_status_codes=True, max_errors=6, max_commands=9)
    whole, drops = Client(rules), Client(rules)
    whole.send(client_data)
    for index in range(len(client_data)):
        drops.send(client_data[index : index + 1])
    assert drops.output == whole.output
    assert drops.messages == whole.messages
    assert drops.core.closed == whole.core.closed


class TestLimits:
    """Clients that only waste time."""

    def test_too_many_errors_are_the_end(self) -> None:
        client = Client(ServerOptions(b"mx", max_errors=2))
        assert codes(client.send(b"FOO\r\nNOOP\r\nRCPT\r\nBAR\r\nNOOP\r\n")) == [500, 250, 503, 500, 421]
        assert client.core.closed

    def test_too_many_commands_without_a_message_are_the_end(self) -> None:
        message = b"MAIL FROM:<a>\r\n" + b"RCPT TO:<b>\r\n" * 9 + b"DATA\r\n.\r\n"
        client = Client(ServerOptions(b"mx", max_commands=3))
        assert 421 not in codes(client.send(message * 5))
        assert codes(client.send(b"NOOP\r\n" * 5)) == [250, 250, 250, 421]
        assert client.core.closed

    def test_the_number_of_recipients_is_reported(self) -> None:
        assert Client(ServerOptions(b"mx", max_recipients=7)).send(b"EHLO\r\n").endswith(b"250 LIMITS RCPTMAX=7\r\n")


def test_replies_can_begin_with_their_status() -> None:
    client = Client(ServerOptions(b"mx", enhanced_status_codes=True, auth_methods=METHODS))
    assert client.greeting == b"220 mx ESMTP\r\n"
    replies = client.send(b"EHLO c\r\nRCPT\r\n" + OPEN + b"DATA\r\n.\r\nAUTH LOGIN\r\n*\r\nQUIT\r\n")
    assert replies.endswith(
        b"250-ENHANCEDSTATUSCODES\r\n250 AUTH LOGIN PLAIN CRAM-MD5\r\n503 5.5.1 MAIL first\r\n250 2.0.0 ok\r\n"
        b"250 2.0.0 ok\r\n354 go ahead\r\n250 2.0.0 ok\r\n334 VXNlcm5hbWU6\r\n501 5.0.0 auth exchange canceled\r\n"
        b"221 2.0.0 mx\r\n"
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"530 Authorization required (#5.7.1) ", b"530 5.7.1 Authorization required"),
        (b"550 a plugin says no", b"550 5.0.0 a plugin says no"),
        (b"451-first line", b"451-4.0.0 first line"),
        (b"554 5.7.1 mine", b"554 5.7.1 mine"),
        (b"554 wrong (#4.3.0)", b"554 5.0.0 wrong (#4.3.0)"),
        (b"554 wrong (#5.3.0", b"554 5.0.0 wrong (#5.3.0"),
        (b"334 dGV4dA==", b"334 dGV4dA=="),
        (b"", b""),
    ],
)
def test_every_line_gets_a_status_that_fits(line: bytes, expected: bytes) -> None:
    assert reply.with_status(line) == expected


def test_every_reply_of_ours_has_a_status_of_its_class() -> None:
    for name, line in vars(reply).items():
        if name.isupper() and isinstance(line, bytes) and b"(#" in line:
            assert reply.with_status(line)[4:9] == line.rpartition(b"#")[2][:5], line
