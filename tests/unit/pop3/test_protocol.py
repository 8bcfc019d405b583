"""The POP3 machines: replies, order, and that fragmentation makes no difference."""

from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.auth.credentials import Credentials
from eqmail_core.pop3.authorisation import Authorisation
from eqmail_core.pop3.message_encoder import MessageText
from eqmail_core.pop3.protocol import MaildropMessage, Retrieve, TlsRequest, Transaction, Update

GREETING = b"<1.2@mail.example.org>"
DROP = [MaildropMessage(120, b"one"), MaildropMessage(200, b"two"), MaildropMessage(3, b"three")]


def authorise(*pieces: bytes) -> tuple[bytes, tuple[bytes, ...] | None]:
    """Output without the greeting, and the credentials."""
    machine = Authorisation(GREETING)
    assert machine.take_output() == b"+OK " + GREETING + b"\r\n"
    found = None
    for piece in pieces:
        machine.receive(piece)
        event = machine.next_event()
        if isinstance(event, Credentials):
            found = (event.method, event.user, event.password, event.challenge)
            break
    return machine.take_output(), found


def transact(*pieces: bytes) -> tuple[bytes, list[object]]:
    """Output without the first reply; each message is sent as "(text)"; the update succeeds."""
    machine = Transaction(DROP)
    assert machine.take_output() == b"+OK \r\n"
    out, asked = b"", list[object]()
    for piece in pieces:
        machine.receive(piece)
        while (event := machine.next_event()) is not None:
            if isinstance(event, Retrieve):
                asked.append((event.index, event.lines))
                machine.send_message()
                out += machine.take_output() + b"(text)"
            elif isinstance(event, Update):
                asked.append(event.deleted)
                machine.end()
            out += machine.take_output()
    return out + machine.take_output(), asked


def test_user_and_pass_are_credentials_with_the_timestamp() -> None:
    out, found = authorise(b"USER joe\r\npass  two words\r\n")
    assert (out, found) == (b"+OK \r\n", (b"pass", b"joe", b"two words", GREETING))


def test_apop_gives_the_digest() -> None:
    assert authorise(b"APOP joe 0a1b\n")[1] == (b"apop", b"joe", b"0a1b", GREETING)


def test_few_commands_are_allowed_before_login() -> None:
    out, found = authorise(b"STAT\r\nPASS x\r\nUSER\r\nUSER joe\r\nPASS\r\nAPOP joe\r\nNOOP\r\nQUIT\r\nUSER ann\r\n")
    assert found is None
    assert out.split(b"\r\n") == [
        b"-ERR authorization first",
        b"-ERR USER first",
        b"-ERR syntax error",
        b"+OK ",
        b"-ERR syntax error",
        b"-ERR syntax error",
        b"+OK ",
        b"+OK ",
        b"",
    ]


CAPABILITIES = [b"TOP", b"UIDL", b"PIPELINING", b"UTF8 USER", b"IMPLEMENTATION eQmail", b"USER", b"."]


def test_capabilities_are_listed_before_login_and_after() -> None:
    out, found = authorise(b"CAPA\r\nUTF8\r\nUSER joe\r\n")
    assert found is None
    assert out.split(b"\r\n") == [b"+OK ", *CAPABILITIES, b"+OK ", b"+OK ", b""]
    machine = Transaction([])
    machine.receive(b"capa\r\nUTF8\r\n")
    assert machine.next_event() is None
    # After login the mode cannot change (RFC 6856 section 2.1).
    assert machine.take_output().split(b"\r\n")[1:] == [b"+OK ", *CAPABILITIES, b"-ERR unimplemented", b""]


def test_credentials_hold_no_nul() -> None:
    assert authorise(b"USER joe\0x\r\nPASS a\0b\r\n")[1] == (b"pass", b"joe", b"a", GREETING)


def test_listings_keep_the_numbers_of_what_is_left() -> None:
    out, _ = transact(b"STAT\r\nDELE 2\r\nSTAT\r\nLIST\r\nUIDL\r\nLIST 3\r\nUIDL 1\r\nLAST\r\nRSET\r\nLAST\r\nSTAT\r\n")
    assert out == (
        b"+OK 3 323\r\n+OK \r\n+OK 2 123\r\n+OK \r\n1 120\r\n3 3\r\n.\r\n+OK \r\n1 one\r\n3 three\r\n.\r\n"
        b"+OK 3 3\r\n+OK 1 one\r\n+OK 2\r\n+OK \r\n+OK 0\r\n+OK 3 323\r\n"
    )


def test_an_invalid_message_number_has_its_own_error() -> None:
    out, asked = transact(
        b"DELE 1\r\nRETR 1\r\nRETR 0\r\nDELE 4\r\nLIST x\r\nTOP\r\nXTND\r\nRETR " + b"9" * 900 + b"\n"
    )
    assert not asked
    assert out.split(b"\r\n")[1:-1] == [
        b"-ERR already deleted",
        b"-ERR messages are counted from 1",
        b"-ERR not that many messages",
        b"-ERR syntax error",
        b"-ERR syntax error",
        b"-ERR unimplemented",
        b"-ERR not that many messages",
    ]


def test_messages_are_asked_for_in_order_and_quit_deletes() -> None:
    out, asked = transact(b"RETR 2\r\nTOP 3 0\r\nTOP 3 17\r\nTOP 1\r\nDELE 3\r\nDELE 1\r\nQUIT\r\nSTAT\r\n")
    assert asked == [(1, None), (2, 0), (2, 17), (0, None), [0, 2]]
    assert out == b"+OK \r\n(text)" * 4 + b"+OK \r\n" * 3


def test_a_failed_update_is_reported_once() -> None:
    machine = Transaction(DROP)
    machine.receive(b"DELE 1\r\nQUIT\r\n")
    assert isinstance(machine.next_event(), Update)
    machine.take_output()
    machine.end(b"unable to unlink all deleted messages")
    assert machine.take_output() == b"-ERR unable to unlink all deleted messages\r\n"
    assert machine.closed


def test_a_line_without_end_is_not_kept() -> None:
    machine = Transaction(DROP)
    for _ in range(100):
        machine.receive(b"x" * 1000)
        assert machine.next_event() is None
        assert len(machine._buffer) - machine._position <= 1000
    machine.receive(b"\nNOOP\n")
    assert machine.next_event() is None
    assert machine.take_output() == b"+OK \r\n-ERR syntax error\r\n+OK \r\n"


def test_a_long_listing_has_to_be_sent_before_the_next_is_made() -> None:
    machine = Transaction([MaildropMessage(1, b"x")] * 1000)
    machine.receive(b"LIST\r\n" * 1000)
    most = 0
    while machine.next_event() is not None:
        most = max(most, len(machine.take_output()))
    assert most < 20_000


COMMANDS = st.lists(
    st.sampled_from(
        [
            b"STAT\r\n",
            b"LIST\r\n",
            b"LIST 2\n",
            b"DELE 1\r\n",
            b"RETR 3\r\n",
            b"TOP 2 1\r\n",
            b"RSET\r\n",
            b"\r\n",
            b"??\n",
        ]
    )
)


@given(COMMANDS, st.integers(1, 7))
def test_fragmentation_makes_no_difference_after_the_client_is_known(lines: list[bytes], size: int) -> None:
    whole = b"".join(lines) + b"QUIT\r\n"
    assert transact(whole) == transact(*(whole[i : i + size] for i in range(0, len(whole), size)))


@given(st.binary(max_size=60), st.integers(1, 7))
def test_fragmentation_makes_no_difference_before(noise: bytes, size: int) -> None:
    whole = noise + b"\r\nUSER joe\r\nPASS x\r\n"
    assert authorise(whole) == authorise(*(whole[i : i + size] for i in range(0, len(whole), size)))


def encoded(lines: int | None, *pieces: bytes) -> bytes:
    text = MessageText(lines)
    out = b""
    for piece in pieces:
        if text.is_over:
            break
        out += text.encode(piece)
    return out + text.finish()


def top_as_c_does(lines: int | None, message: bytes) -> bytes:
    """Line by line, as the original's loop."""
    out, in_header, limit = b"", True, 0 if lines is None else lines + 1
    for line in message.splitlines(keepends=True) if b"\r" not in message else message.split(b"\n"):
        if limit and not in_header:
            limit -= 1
            if not limit:
                break
        line = line.removesuffix(b"\n")
        if not line:
            in_header = False
        out += (b"." if line.startswith(b".") else b"") + line + b"\r\n"
    return out + b"\r\n.\r\n"


@given(
    st.one_of(st.none(), st.integers(0, 4)),
    st.text("ab.\n", max_size=30).map(str.encode),
    st.integers(1, 5),
)
def test_a_message_is_sent_as_c_sends_it_however_it_is_read(lines: int | None, message: bytes, size: int) -> None:
    expected = top_as_c_does(lines, message)
    assert encoded(lines, message) == expected
    assert encoded(lines, *(message[i : i + size] for i in range(0, len(message), size))) == expected


def converse(machine: Authorisation, data: bytes) -> tuple[bytes, list[object]]:
    """What the machine says to these bytes, and its events; TLS begins where it is asked for."""
    machine.take_output()
    machine.receive(data)
    events: list[object] = []
    while (event := machine.next_event()) is not None:
        events.append(type(event))
        if isinstance(event, TlsRequest):
            machine.begin_tls()
    return machine.take_output(), events


def test_without_a_certificate_there_is_no_stls() -> None:
    said, events = converse(Authorisation(GREETING), b"CAPA\r\nSTLS\r\n")
    assert b"STLS" not in said and b"\r\nUSER\r\n" in said and said.endswith(b"-ERR TLS is not available\r\n")
    assert not events


def test_no_password_is_taken_without_tls_where_it_is_required() -> None:
    said, events = converse(Authorisation(GREETING, True, True), b"CAPA\r\nUSER joe\r\nPASS x\r\nAPOP joe 1\r\n")
    assert b"\r\nSTLS\r\n" in said and b"\r\nUSER\r\n" not in said
    assert said.endswith(b"-ERR STLS first\r\n" * 3) and not events


def test_what_was_said_before_tls_is_forgotten() -> None:
    """A man in the middle could have said it (RFC 2595 section 4)."""
    machine = Authorisation(GREETING, True, True)
    said, events = converse(machine, b"STLS\r\nUSER mallory\r\nPASS x\r\n")
    assert (said, events) == (b"+OK \r\n", [TlsRequest])
    said, events = converse(machine, b"PASS secret\r\nCAPA\r\nSTLS\r\n")
    assert said.startswith(b"-ERR USER first\r\n") and b"STLS\r\n" not in said and not events
    assert said.endswith(b"-ERR TLS is not available\r\n")
    assert converse(machine, b"USER joe\r\nPASS secret\r\n")[1] == [Credentials]
