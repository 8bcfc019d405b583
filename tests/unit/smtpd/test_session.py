"""The SMTP state machine: order of commands, and invariants for every input."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.auth.credentials import CRAM_MD5, LOGIN, METHODS, PLAIN
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.events import (
    BROKEN,
    STARTTLS,
    AuthEvent,
    BodyPiece,
    Data,
    Decision,
    Hello,
    Mail,
    Recipient,
    SmtpEvent,
)
from eqmail_core.smtpd.protocol.options import ServerOptions
from eqmail_core.smtpd.protocol.session import ServerProtocol
from eqmail_core.smtpd.protocol.session_streams import SessionStreams

OK = Decision(True, [reply.OK])
NO = Decision(False, [b"550 no"])
SILENT = Decision(True, [])


class Client:
    """Drives a machine that agrees with everything, and notes what happened."""

    def __init__(self, rules: ServerOptions | None = None) -> None:
        self.core = ServerProtocol(rules or ServerOptions(b"mx"), b"client.test", lambda: b"<1.2@mx>")
        self.core.begin()
        self.core.answer(SILENT)
        self.greeting = self.core.take_output()
        self.events: list[SmtpEvent] = []
        self.output = b""
        self.messages: list[tuple[bytes | None, list[bytes], bytes]] = []
        self._text = b""
        self.refusing: type[SmtpEvent] | None = None

    def send(self, data: bytes) -> bytes:
        """Feed bytes; the replies."""
        self.core.receive(data)
        while (event := self.core.next_event()) is not None:
            self.events.append(event)
            if isinstance(event, BodyPiece):
                self._text += event.text
                if event.is_last:
                    self.messages.append((self.core.sender, list(self.core.recipients), self._text))
                    self._text = b""
            if event.needs_decision:
                refused = self.refusing is not None and isinstance(event, self.refusing)
                self.core.answer(NO if refused else SILENT if isinstance(event, Data | Hello) else OK)
        replies = self.core.take_output()
        self.output += replies
        return replies


def codes(replies: bytes) -> list[int]:
    return [int(line[:3]) for line in replies.split(b"\r\n")[:-1] if line[3:4] == b" "]


def test_greeting_and_quit() -> None:
    client = Client()
    assert client.greeting == b"220 mx ESMTP\r\n"
    assert client.send(b"quit\r\nNOOP\r\n") == b"221 mx\r\n"
    assert client.core.closed


def test_a_pipelined_transaction_is_answered_in_order() -> None:
    client = Client()
    replies = client.send(
        b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\nhi\r\n..x\r\n.\r\nQUIT\r\n"
    )
    assert codes(replies) == [250, 250, 250, 250, 354, 250, 221]
    assert client.messages == [(b"a@b", [b"c@d", b"e@f"], b"hi\n.x\n")]


def test_ehlo_lists_the_extensions() -> None:
    assert (
        Client(ServerOptions(b"mx", size_limit=7)).send(b"EHLO\r\n")
        == b"250-mx\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 7\r\n"
    )
    replies = Client(ServerOptions(b"mx", auth_methods=METHODS)).send(b"EHLO x\r\n")
    assert replies.endswith(b"250 AUTH LOGIN PLAIN CRAM-MD5\r\n")


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        (b"RCPT TO:<a>\r\n", [503]),
        (b"DATA\r\n", [503]),
        (b"MAIL FROM:<a>\r\nDATA\r\n", [250, 503]),
        (b"MAIL FROM:<a>\r\nRCPT TO:<b>\r\nRSET\r\nDATA\r\n", [250, 250, 250, 503]),
        (b"MAIL FROM:<a>\r\nRCPT TO:<b>\r\nHELO x\r\nDATA\r\n", [250, 250, 250, 503]),
        (b"MAIL FROM:<a>\r\nRCPT TO:<b>\r\nMAIL FROM:<c>\r\nDATA\r\n", [250, 250, 250, 503]),
        (b"FOO\r\nVRFY x\r\nHELP\r\nNOOP\r\nEXPN\r\n", [500, 252, 214, 250, 500]),
        (b"MAIL FROM:<%b>\r\n" % (b"x" * 900), [555]),
        (b"STARTTLS\r\nSTARTTLS x\r\n", [454, 501]),
    ],
)
def test_commands_have_an_order(commands: bytes, expected: list[int]) -> None:
    assert codes(Client().send(commands)) == expected


def test_the_envelope_is_reset_after_a_message() -> None:
    client = Client()
    client.send(b"MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n.\r\n")
    assert codes(client.send(b"DATA\r\n")) == [503]


def test_a_refused_sender_opens_no_transaction() -> None:
    client = Client()
    client.refusing = Mail
    assert codes(client.send(b"MAIL FROM:<a>\r\nRCPT TO:<b>\r\n")) == [550, 503]


def test_a_refused_recipient_is_not_added() -> None:
    client = Client()
    client.refusing = Recipient
    assert codes(client.send(b"MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n")) == [250, 550, 503]


def test_input_waits_for_the_verdict() -> None:
    core = ServerProtocol(ServerOptions(b"mx"), b"c", bytes)
    core.begin()
    core.receive(b"NOOP\r\n")
    assert core.next_event() is None
    assert core.take_output() == b""
    core.answer(SILENT)
    assert core.next_event() is None
    assert core.take_output() == b"220 mx ESMTP\r\n250 ok\r\n"


def test_a_verdict_can_replace_an_address() -> None:
    core = ServerProtocol(ServerOptions(b"mx"), b"c", bytes)
    core.begin()
    core.answer(SILENT)
    core.receive(b"MAIL FROM:<a>\r\nRCPT TO:<b>\r\n")
    core.next_event()
    core.answer(Decision(True, [reply.OK], b"x@y"))
    core.next_event()
    core.answer(Decision(True, [reply.OK], b"z"))
    assert (core.sender, core.recipients) == (b"x@y", [b"z"])


def test_recipients_can_be_bounded() -> None:
    client = Client(ServerOptions(b"mx", max_recipients=2))
    assert codes(client.send(b"MAIL FROM:<a>\r\n" + b"RCPT TO:<b>\r\n" * 3)) == [250, 250, 250, 452]


def test_a_size_beyond_the_limit_is_refused_at_once() -> None:
    client = Client(ServerOptions(b"mx", size_limit=10))
    assert codes(client.send(b"MAIL FROM:<a@b> SIZE=11\r\nMAIL FROM:<a@b> size=10\r\n")) == [552, 250]


def test_a_submission_port_wants_authentication() -> None:
    client = Client(ServerOptions(b"mx", mail_needs_auth=True, auth_methods=METHODS))
    assert client.send(b"MAIL FROM:<a>\r\n") == b"530 Authorization required (#5.7.1) \r\n"
    assert codes(client.send(b"AUTH PLAIN AGEAYg==\r\nMAIL FROM:<a>\r\n")) == [250, 250]


def test_own_address_literals_are_replaced() -> None:
    client = Client(ServerOptions(b"mx", local_ip_host=b"mx.test", is_own_address=lambda ip: ip == b"192.0.2.1"))
    client.send(b"MAIL FROM:<a@[192.0.2.1]>\r\nRCPT TO:<b@[192.0.2.9]>\r\nRCPT TO:<b@[192.0.2.1]x>\r\n")
    assert client.core.sender == b"a@mx.test"
    assert client.core.recipients == [b"b@[192.0.2.9]", b"b@[192.0.2.1]x"]


def test_an_incomplete_address_is_refused() -> None:
    """An address can never carry a NUL into an envelope, whose fields end in one; nor is it cut there."""
    client = Client()
    replies = client.send(b"MAIL FROM:<a\0Tevil@x>\r\nMAIL\0 FROM:<a>\r\nMAIL FROM:<a>\r\nRCPT TO:<b\0Tevil@x>\r\n")
    assert codes(replies) == [555, 555, 250, 555]
    assert not client.core.recipients


def test_other_commands_end_at_a_nul() -> None:
    assert codes(Client().send(b"NOOP\0 x\r\nNO\0OP\r\n")) == [250, 500]


UTF8 = ServerOptions(b"mx", offers_utf8=True)


@pytest.mark.parametrize(
    "address",
    [b"j\xf6@x", b"a@\xc0\xafx", b"\xed\xa0\x80@x", b"a\xc3@x", b"\xf8\x88\x80\x80\x80@x", b"\xff@x"],
    ids=["latin-1", "overlong", "surrogate", "cut", "five bytes", "ff"],
)
def test_an_address_under_smtputf8_is_utf8(address: bytes) -> None:
    client = Client(UTF8)
    replies = client.send(b"MAIL FROM:<%b> SMTPUTF8\r\nMAIL FROM:<> SMTPUTF8\r\nRCPT TO:<%b>\r\n" % (address, address))
    assert replies.splitlines()[0] == b"553 sorry, that address is not UTF-8 (#5.1.3)"
    assert codes(replies) == [553, 250, 553]


def test_an_address_beyond_ascii_needs_smtputf8() -> None:
    client = Client(UTF8)
    address = "jörg@müller.example".encode()
    client_data = b"MAIL FROM:<%b>\r\nMAIL FROM:<%b> BODY=8BITMIME\r\nMAIL FROM:<>\r\nRCPT TO:<%b>\r\n"
    assert codes(client.send(client_data % (address, address, address))) == [553, 553, 250, 553]
    assert client.output.count(b"(#5.6.7)") == 3
    client_data = b"MAIL FROM:<%b> SMTPUTF8\r\nRCPT TO:<%b>\r\n"
    assert codes(client.send(client_data % (address, address))) == [250, 250]
    assert client.core.recipients == [address]


def test_without_smtputf8_an_address_is_bytes_as_in_c() -> None:
    assert codes(Client().send(b"MAIL FROM:<j\xf6@x>\r\nRCPT TO:<\xff@x>\r\n")) == [250, 250]


@pytest.mark.parametrize("again", [b"EHLO x", b"HELO x", b"MAIL FROM:<new> RET=HDRS", b"RSET"])
@pytest.mark.parametrize("refused", [False, True])
def test_the_end_of_a_transaction_clears_its_state(again: bytes, refused: bool) -> None:
    client = Client(ServerOptions(b"mx", offers_notify=True))
    client.send(b"MAIL FROM:<old> ENVID=x\r\nRCPT TO:<one> NOTIFY=NEVER\r\n")
    client.refusing = (Mail if again.startswith(b"MAIL") else Hello) if refused else None
    client.send(again + b"\r\n")
    core = client.core
    assert core.recipients == []
    assert core.sender == (b"new" if again.startswith(b"MAIL") and not refused else None)
    assert core.dsn is None or not core.dsn.envid
    if again != b"RSET":
        assert client.events[-1].restarts
    assert codes(client.send(b"DATA\r\n")) == [503]
    client.refusing = None
    client.send(b"MAIL FROM:<new>\r\n")
    assert client.events[-1].restarts == (again.startswith(b"MAIL") and not refused)


def test_an_endless_line_is_discarded_and_answered_once() -> None:
    client = Client()
    for _ in range(50):
        assert client.send(b"x" * 1000) == b""
        assert client.core.unread <= SessionStreams.MAX_LINE + 1000
    assert client.send(b"\r\nNOOP\r\n") == b"500 line too long (#5.5.2)\r\n250 ok\r\n"


def test_a_bare_newline_in_a_body_ends_everything() -> None:
    client = Client()
    replies = client.send(b"MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\nx\ny\r\n.\r\nQUIT\r\n")
    assert replies.endswith(
        b"451 a line of the message ends in LF alone, and not in CRLF; see RFC 5321 section 2.3.8 (#4.5.2)\r\n"
    )
    assert client.events[-1] is BROKEN
    assert client.core.closed
    assert not client.messages


class TestAuthentication:
    """AUTH, as far as the machine decides."""

    RULES = ServerOptions(b"mx", auth_methods=METHODS)

    def test_credentials_are_an_event(self) -> None:
        client = Client(self.RULES)
        client.send(b"AUTH LOGIN\r\ndXNlcg==\r\ncGFzcw==\r\n")
        event = client.events[-1]
        assert isinstance(event, AuthEvent)
        assert (event.credentials.user, event.credentials.password) == (b"user", b"pass")
        assert client.core.authenticated

    @pytest.mark.parametrize(
        ("rules", "commands", "expected"),
        [
            (ServerOptions(b"mx"), b"AUTH PLAIN\r\n", 503),
            (RULES, b"AUTH GSSAPI\r\n", 504),
            (RULES, b"AUTH PLAIN AGEAYg==\r\nAUTH LOGIN\r\n", 503),
            (RULES, b"MAIL FROM:<a>\r\nAUTH LOGIN\r\n", 503),
            (ServerOptions(b"mx", auth_methods=METHODS, auth_needs_tls=True), b"AUTH PLAIN AGEAYg==\r\n", 538),
            (ServerOptions(b"mx", auth_methods=METHODS, auth_needs_tls=True), b"AUTH Cram-MD5\r\n", 334),
            (RULES, b"AUTH LOGIN\r\n*\r\n", 501),
            (RULES, b"AUTH PLAIN =\r\n", 501),
            (RULES, b"AUTH PLAIN\r\n" + b"x" * 5000 + b"\r\n", 500),
        ],
    )
    def test_every_protocol_error_in_auth_has_its_reply(
        self, rules: ServerOptions, commands: bytes, expected: int
    ) -> None:
        assert codes(Client(rules).send(commands))[-1] == expected

    def test_only_what_can_be_checked_is_offered_and_taken(self) -> None:
        client = Client(ServerOptions(b"mx", auth_methods=(LOGIN, PLAIN)))
        assert client.send(b"EHLO x\r\n").endswith(b"250 AUTH LOGIN PLAIN\r\n")
        assert codes(client.send(b"AUTH CRAM-MD5\r\n")) == [504]

    @pytest.mark.parametrize(
        ("methods", "in_clear", "under_tls"),
        [
            (METHODS, b"AUTH CRAM-MD5\r\n", b"AUTH LOGIN PLAIN CRAM-MD5\r\n"),
            ((LOGIN, PLAIN), b"SIZE 0\r\n", b"AUTH LOGIN PLAIN\r\n"),
            ((CRAM_MD5,), b"AUTH CRAM-MD5\r\n", b"AUTH CRAM-MD5\r\n"),
        ],
    )
    def test_plain_text_mechanisms_are_not_offered_without_tls(
        self, methods: tuple[bytes, ...], in_clear: bytes, under_tls: bytes
    ) -> None:
        client = Client(ServerOptions(b"mx", auth_methods=methods, auth_needs_tls=True, offers_tls=True))
        assert client.send(b"EHLO x\r\n").endswith(in_clear)
        client.core.tls_started()
        assert client.send(b"EHLO x\r\n").endswith(under_tls)

    def test_after_a_failed_exchange_commands_are_commands(self) -> None:
        assert codes(Client(self.RULES).send(b"AUTH LOGIN\r\n!!\r\nNOOP\r\n")) == [334, 501, 250]


class TestTls:
    """STARTTLS, as far as the machine decides."""

    RULES = ServerOptions(b"mx", auth_methods=METHODS, offers_tls=True)

    def test_starttls_is_offered_until_tls_is_active(self) -> None:
        client = Client(self.RULES)
        assert client.send(b"EHLO x\r\n").startswith(b"250-mx\r\n250-STARTTLS\r\n")
        client.core.tls_started()
        assert b"STARTTLS" not in client.send(b"EHLO x\r\n")
        assert codes(client.send(b"STARTTLS\r\nSTARTTLS x\r\n")) == [502, 502]

    def test_starttls_resets_the_session(self) -> None:
        client = Client(self.RULES)
        client.send(b"EHLO x\r\nAUTH PLAIN AGEAYg==\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\n")
        client.send(b"STARTTLS\r\n")
        assert client.events[-1] is STARTTLS
        client.core.tls_started()
        assert not client.core.authenticated
        assert client.core.helo == b"client.test"
        assert codes(client.send(b"RCPT TO:<b>\r\nDATA\r\n")) == [503, 503]

    def test_passwords_are_accepted_under_tls(self) -> None:
        client = Client(ServerOptions(b"mx", auth_methods=METHODS, offers_tls=True, auth_needs_tls=True))
        assert codes(client.send(b"AUTH PLAIN AGEAYg==\r\n")) == [538]
        client.core.tls_started()
        assert codes(client.send(b"AUTH PLAIN AGEAYg==\r\n")) == [250]


@given(st.binary(min_size=1, max_size=60))
def test_commands_pipelined_after_starttls_are_never_executed(more: bytes) -> None:
    client = Client(ServerOptions(b"mx", offers_tls=True))
    assert client.send(b"STARTTLS\r\n" + more) == b"554 nothing may follow STARTTLS (#5.5.1)\r\n"
    assert client.core.closed
    assert not client.events


WORDS = st.sampled_from(
    [b"MAIL FROM:<a@b>", b"RCPT TO:<c@d>", b"DATA", b"RSET", b"EHLO x", b"QUIT", b"AUTH PLAIN", b"AUTH LOGIN", b"dQ==",
     b".", b"..", b"NOOP", b"*", b"", b"x", b"MAIL FROM:<\\", b'RCPT TO:<"', b"\r", b"\0"]
)  # fmt: skip
ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"", b"\r"])
PLUGIN_OUTPUT = st.lists(st.tuples(WORDS, ENDS).map(b"".join), max_size=25).map(b"".join)


@given(PLUGIN_OUTPUT)
def test_fragmentation_makes_no_difference(client_data: bytes) -> None:
    rules = ServerOptions(b"mx", auth_methods=METHODS)
    whole, drops = Client(rules), Client(rules)
    whole.send(client_data)
    for index in range(len(client_data)):
        drops.send(client_data[index : index + 1])
    assert drops.output == whole.output
    assert drops.messages == whole.messages
    assert drops.core.closed == whole.core.closed


@given(st.lists(st.one_of(st.binary(max_size=80), PLUGIN_OUTPUT), max_size=12))
def test_no_input_raises_and_little_is_kept(pieces: list[bytes]) -> None:
    client = Client(ServerOptions(b"mx", auth_methods=METHODS, max_recipients=10))
    for piece in pieces:
        client.send(piece)
        assert client.core.closed or client.core.unread <= SessionStreams.MAX_LINE
        assert len(client.core.recipients) <= 10
