"""The client state machine against scripts of a server: its commands and its reports."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.auth.client import ClientCredentials
from eqmail_core.remote.report import report_of_output
from eqmail_core.smtp.client import GROUP, SmtpClient
from eqmail_core.smtp.exchange import CONTENT, DONE, HANDSHAKE, TRY_NEXT, WAITING
from eqmail_core.tls.client_policy import IF_OFFERED, TlsPolicy

MESSAGE = b"Subject: x\n\n.body\n"
PLAIN_EHLO = b"250-x\r\n250 8BITMIME\r\n"
PIPELINING_EHLO = b"250-x\r\n250-pipelining\r\n250 8BITMIME\r\n"
TO_CONTENT = [b"220 a\r\n", PIPELINING_EHLO, b"250 m\r\n250 r\r\n354 d\r\n"]
"""The replies of a server up to the message, step by step."""


class ManualServer:
    """A server by hand: `reply` sends bytes to the client and records what the client sends."""

    def __init__(self, recipients: int = 1, message: bytes = MESSAGE, **options: object) -> None:
        self.client = SmtpClient(b"192.0.2.7", b"me.test", **options)  # type: ignore[arg-type]
        self.message = message
        self.client.begin(b"s@x", [b"r%d@y" % number for number in range(recipients)])
        self.sent: list[bytes] = []

    def reply(self, *pieces: bytes) -> "ManualServer":
        for piece in pieces:
            self.client.receive(piece)
            while self.client.status == CONTENT:
                self.client.supply(self.message)
                if self.message:
                    self.client.supply(b"")
            self.sent.append(self.client.take_output())
        return self

    def report(self) -> bytes:
        assert self.client.status == DONE
        return self.client.report


def test_without_pipelining_every_reply_is_awaited() -> None:
    server = ManualServer(2).reply(
        b"220 hi\r\n", PLAIN_EHLO, b"250 a\r\n", b"250 b\r\n", b"250 c\r\n", b"354 go\r\n", b"250 k\r\n"
    )
    assert server.sent == [
        b"EHLO me.test\r\n",
        b"MAIL FROM:<s@x>\r\n",
        b"RCPT TO:<r0@y>\r\n",
        b"RCPT TO:<r1@y>\r\n",
        b"DATA\r\n",
        b"Subject: x\r\n\r\n..body\r\n.\r\n",
        b"QUIT\r\n",
    ]
    assert server.report() == b"r\0r\0K192.0.2.7 accepted message.\nRemote host said: 250 k\n\0"


def test_with_pipelining_the_envelope_is_one_write() -> None:
    server = ManualServer(2).reply(
        b"220 hi\r\n", PIPELINING_EHLO, b"250 a\r\n250 b\r\n550 no\r\n354 go\r\n", b"250 k\r\n"
    )
    assert server.sent[1] == b"MAIL FROM:<s@x>\r\nRCPT TO:<r0@y>\r\nRCPT TO:<r1@y>\r\nDATA\r\n"
    assert server.sent[2].endswith(b"\r\n.\r\n")
    assert server.report() == (
        b"r\0h192.0.2.7 does not like recipient.\nRemote host said: 550 no\n\0"
        b"K192.0.2.7 accepted message.\nRemote host said: 250 k\n\0"
    )


def test_data_without_accepted_recipients_gets_a_lone_dot_and_the_report_stays() -> None:
    server = ManualServer().reply(b"220 hi\r\n", PIPELINING_EHLO, b"250 a\r\n450 later\r\n", b"354 go\r\n")
    assert server.sent[3] == b".\r\nQUIT\r\n"
    assert server.report() == (
        b"s192.0.2.7 does not like recipient.\nRemote host said: 450 later\n\0DGiving up on 192.0.2.7.\n\0"
    )


def test_a_refused_sender_decides_even_if_the_rest_is_accepted() -> None:
    server = ManualServer().reply(b"220 hi\r\n", PIPELINING_EHLO, b"550 no\r\n250 b\r\n", b"354 go\r\n")
    assert server.sent[3] == b".\r\nQUIT\r\n"
    assert server.report() == b"DConnected to 192.0.2.7 but sender was rejected.\nRemote host said: 550 no\n\0"


def test_a_refused_sender_is_reported_even_if_the_server_leaves_then() -> None:
    server = ManualServer().reply(b"220 hi\r\n", PIPELINING_EHLO, b"550 no\r\n")
    server.client.lost()
    assert server.report() == b"DConnected to 192.0.2.7 but sender was rejected.\nRemote host said: 550 no\n\0"


def test_pipelined_refusal_of_data_is_reported() -> None:
    server = ManualServer().reply(b"220 hi\r\n", PIPELINING_EHLO, b"250 a\r\n250 b\r\n554 no data\r\n")
    assert server.report() == b"r\0D192.0.2.7 failed on DATA command.\nRemote host said: 554 no data\n\0"
    assert server.sent[2] == b"QUIT\r\n"


def test_many_recipients_are_sent_in_groups() -> None:
    server = ManualServer(GROUP + 2).reply(b"220 hi\r\n", PIPELINING_EHLO)
    assert server.sent[1].count(b"RCPT") == GROUP
    assert b"DATA" not in server.sent[1]
    server.reply(b"250 ok\r\n" * (GROUP + 1))
    assert server.sent[2] == b"RCPT TO:<r%d@y>\r\nRCPT TO:<r%d@y>\r\nDATA\r\n" % (GROUP, GROUP + 1)
    server.reply(b"250 ok\r\n250 ok\r\n354 go\r\n", b"250 k\r\n")
    assert server.report().count(b"r\0") == GROUP + 2


@pytest.mark.parametrize(
    ("replies", "report"),
    [
        ([b"554 go away\r\n"], b"DConnected to 192.0.2.7 but greeting failed.\nRemote host said: 554 go away\n\0"),
        ([b"250 what\r\n"], b"ZConnected to 192.0.2.7 but greeting failed.\nRemote host said: 250 what\n\0"),
        ([b"SSH-2.0\r\n"], b"ZConnected to 192.0.2.7 but greeting failed.\nRemote host said: SSH-2.0\n\0"),
        (
            [b"220 a\r\n", b"502 b\r\n", b"550 c\r\n"],
            b"ZConnected to 192.0.2.7 but my name was rejected.\nRemote host said: 550 c\n\0",
        ),
        (
            [b"220 a\r\n", PLAIN_EHLO, b"451 m\r\n"],
            b"ZConnected to 192.0.2.7 but sender was rejected.\nRemote host said: 451 m\n\0",
        ),
        (
            [b"220 a\r\n", PLAIN_EHLO, b"250 m\r\n", b"nonsense\r\n"],
            b"s192.0.2.7 does not like recipient.\nRemote host said: nonsense\n\0ZGiving up on 192.0.2.7.\n\0",
        ),
        (
            [b"220 a\r\n", PLAIN_EHLO, b"250 m\r\n", b"250 r\r\n", b"354 d\r\n", b"451-x\r\n451 y\0\r\n"],
            b"r\0Z192.0.2.7 failed after I sent the message.\nRemote host said: 451-x\n451 y?\n\0",
        ),
    ],
)
def test_failures_are_reported_in_the_words_of_qmail_remote(replies: list[bytes], report: bytes) -> None:
    server = ManualServer().reply(*replies)
    assert server.report() == report
    assert server.sent[-1] == b"QUIT\r\n"
    assert not server.client.is_reusable


def test_a_busy_server_is_skipped() -> None:
    server = ManualServer().reply(b"421 busy\r\n")
    assert server.client.status == TRY_NEXT
    assert server.sent == [b""]


@pytest.mark.parametrize("after", range(6))
def test_a_lost_connection_may_mean_a_duplicate_only_after_the_last_dot(after: int) -> None:
    replies = [b"220 a\r\n", PLAIN_EHLO, b"250 m\r\n", b"250 r\r\n", b"354 d\r\n"]
    server = ManualServer().reply(*replies[:after])
    server.client.lost()
    duplicate = b"Possible duplicate! " if after == 5 else b""
    recipients = b"r\0" if after >= 4 else b""
    died = b"ZConnected to 192.0.2.7 but connection died. " + duplicate + b"(#4.4.2)\n\0"
    assert server.report() == recipients + died


def test_a_message_without_its_last_newline_is_refused_before_anything_is_sent() -> None:
    server = ManualServer(message=b"Subject: x\n\nend").reply(
        b"220 a\r\n", PIPELINING_EHLO, b"250 m\r\n250 r\r\n354 d\r\n"
    )
    assert server.report() == b"r\0DSMTP cannot transfer messages with partial final lines. (#5.6.2)\n\0"
    assert server.sent[-1] == b""


def test_an_unreadable_message_is_deferred() -> None:
    server = ManualServer()
    for piece in TO_CONTENT:
        server.client.receive(piece)
    server.client.fail_reading()
    assert server.report() == b"r\0ZUnable to read message. (#4.3.0)\n\0"


def test_a_reused_session_sends_the_next_message_without_ehlo() -> None:
    server = ManualServer(keep=True).reply(
        b"220 hi\r\n", PIPELINING_EHLO, b"250 a\r\n250 b\r\n354 go\r\n", b"250 k\r\n"
    )
    assert server.sent[-1] == b""
    assert server.client.is_reusable
    server.client.begin(b"", [b"z@y"])
    assert server.client.take_output() == b"MAIL FROM:<>\r\nRCPT TO:<z@y>\r\nDATA\r\n"
    server.reply(b"250 a\r\n250 b\r\n354 go\r\n", b"250 second\r\n")
    assert server.report() == b"r\0K192.0.2.7 accepted message.\nRemote host said: 250 second\n\0"


def test_a_session_with_an_unexpected_reply_is_not_reused() -> None:
    server = ManualServer(keep=True).reply(
        b"220 hi\r\n", PIPELINING_EHLO, b"250 a\r\n250 b\r\n354 go\r\n", b"250 k\r\n421 bye\r\n"
    )
    assert server.report().endswith(b"250 k\n\0")
    assert not server.client.is_reusable


@pytest.mark.parametrize(
    ("reply", "may_retry"),
    [
        (b"450 too many messages\r\n", True),
        (b"550 no more in this session\r\n", True),
        (b"250 a\r\n421 closing\r\n", True),
        (b"354 what\r\n", True),
        (b"250 a\r\n550 no such user\r\n", False),
        (b"250 a\r\n250 b\r\n354 go\r\n", False),
    ],
)
def test_a_message_may_be_retried_as_long_as_nothing_of_it_was_taken(reply: bytes, may_retry: bool) -> None:
    server = ManualServer(keep=True).reply(
        b"220 hi\r\n", PIPELINING_EHLO, b"250 a\r\n250 b\r\n354 go\r\n", b"250 k\r\n"
    )
    assert not server.client.may_retry
    server.client.begin(b"", [b"z@y"])
    assert server.client.may_retry
    server.reply(reply)
    assert server.client.may_retry == may_retry
    server.client.lost()
    assert server.client.may_retry == may_retry


def test_authentication_comes_before_mail_and_names_the_sender() -> None:
    server = ManualServer(credentials=ClientCredentials(b"user", b"secret"))
    server.reply(b"220 a\r\n", b"250-x\r\n250 AUTH LOGIN PLAIN\r\n", b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n")
    server.reply(b"235 ok\r\n")
    assert server.sent[1:] == [
        b"AUTH LOGIN\r\n",
        b"dXNlcg==\r\n",
        b"c2VjcmV0\r\n",
        b"MAIL FROM:<s@x> AUTH=s@x\r\n",
    ]


@pytest.mark.parametrize(
    ("sender", "parameter"),
    [(b"", b"AUTH=<>"), (b"e=mc2@x", b"AUTH=e+3Dmc2@x"), (b'"a b+c"@x', b'AUTH="a+20b+2Bc"@x')],
)
def test_the_auth_parameter_is_in_xtext(sender: bytes, parameter: bytes) -> None:
    client = SmtpClient(b"192.0.2.7", b"me.test", ClientCredentials(b"user", b"secret"))
    client.begin(sender, [b"r@y"])
    for piece in (b"220 a\r\n", b"250-x\r\n250 AUTH PLAIN\r\n", b"235 ok\r\n"):
        client.receive(piece)
    assert client.take_output().endswith(b"MAIL FROM:<%b> %b\r\n" % (sender, parameter))


@pytest.mark.parametrize(
    ("offer", "replies", "step"),
    [
        (b"AUTH LOGIN", [b"535 no\r\n"], b"AUTH LOGIN"),
        (b"AUTH LOGIN", [b"334 VQ==\r\n", b"535 no\r\n"], b"username"),
        (b"AUTH LOGIN", [b"334 VQ==\r\n", b"334 UA==\r\n", b"535 no\r\n"], b"password"),
        (b"AUTH PLAIN", [b"535 no\r\n"], b"AUTH PLAIN"),
        (b"AUTH CRAM-MD5", [b"535 no\r\n"], b"AUTH CRAM-MD5"),
        (b"AUTH CRAM-MD5", [b"334 PDFAeD4=\r\n", b"535 no\r\n"], b"password"),
    ],
)
def test_a_refused_authentication_defers_and_names_the_step(offer: bytes, replies: list[bytes], step: bytes) -> None:
    server = ManualServer(credentials=ClientCredentials(b"user", b"secret")).reply(
        b"220 a\r\n", b"250-x\r\n250 " + offer + b"\r\n"
    )
    server.reply(*replies)
    assert server.report() == (
        b"ZConnected to 192.0.2.7 but authentication was rejected (" + step + b").\nRemote host said: 535 no\n\0"
    )


# --------------------------------------------------------------------- laws

GOOD = [b"220 hi\r\n", PLAIN_EHLO, PIPELINING_EHLO, b"250 ok\r\n", b"354 go\r\n", b"334 PDFAeD4=\r\n", b"235 ok\r\n"]
BAD = [b"421 no\r\n", b"450 no\r\n", b"550 no\r\n", b"250-AUTH LOGIN\r\n", b"what\r\n", b"\r\n", b"999 z\r\n"]
words = st.sampled_from(GOOD) | st.sampled_from(BAD)
scripts = st.lists(st.one_of(words, words, words, st.binary(max_size=30)), max_size=14)


def run_to_end(steps: list[list[bytes]], keep: bool) -> tuple[bytes, int, bytes]:
    """Say the pieces of each step, and then listen."""
    server = ManualServer(2, keep=keep, credentials=ClientCredentials(b"u", b"p"))
    for pieces in steps:
        for piece in pieces:
            server.client.receive(piece)
        server.reply(b"")
    server.client.lost()
    return b"".join(server.sent), server.client.status, server.client.report


@given(scripts, st.booleans(), st.data())
def test_no_script_breaks_the_machine_and_fragmentation_does_not_matter(
    script: list[bytes], keep: bool, data: st.DataObject
) -> None:
    whole = run_to_end([[step] for step in script], keep)
    assert whole[1] in (DONE, TRY_NEXT)
    assert whole[1] == TRY_NEXT or whole[2].endswith(b"\0")
    steps = []
    for step in script:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(step)), max_size=3)))
        steps.append([step[a:b] for a, b in zip([0, *cuts], [*cuts, len(step)], strict=True)])
    assert run_to_end(steps, keep) == whole


@given(st.lists(st.binary(max_size=30) | words, max_size=14).map(b"".join), st.lists(st.integers(0, 400), max_size=6))
def test_no_stream_of_bytes_breaks_the_machine(stream: bytes, cuts: list[int]) -> None:
    ends = sorted(min(cut, len(stream)) for cut in cuts)
    server = ManualServer(2).reply(*(stream[a:b] for a, b in zip([0, *ends], [*ends, len(stream)], strict=True)))
    server.client.lost()
    assert server.client.status == TRY_NEXT or server.client.report.endswith(b"\0")


# --------------------------------------------------------------------- replies in and out of step

STEPS = [b"220 a\r\n", PLAIN_EHLO, b"250 m\r\n", b"250 r\r\n", b"354 d\r\n", b"250 k\r\n"]
PIPELINED_STEPS = [b"220 a\r\n", PIPELINING_EHLO, b"250 m\r\n250 r\r\n354 d\r\n", b"250 k\r\n"]
ODD = [b"000 z\r\n", b"150 wait\r\n", b"354 more\r\n", b"399 x\r\n", b"600 y\r\n", b"999 z\r\n", b"hello\r\n"]


def replies_to(step: int) -> list[bytes]:
    """What is neither yes nor no to a command."""
    return [odd for odd in ODD if step != 4 or odd[:3] != b"354"] + [b"250 ok\r\n"] * (step == 4)


@pytest.mark.parametrize(
    ("step", "odd"), [(step, odd) for step in range(len(STEPS)) for odd in replies_to(step) if odd != b"250 ok\r\n"]
)
def test_an_unexpected_reply_code_defers_and_ends_the_session(step: int, odd: bytes) -> None:
    server = ManualServer(keep=True).reply(*STEPS[:step], odd)
    assert report_of_output(server.report()).outcome == b"Z"
    assert server.sent[-1] == b"QUIT\r\n"
    assert not server.client.is_reusable


@pytest.mark.parametrize("reply", replies_to(4))
def test_the_message_is_sent_after_354_alone(reply: bytes) -> None:
    server = ManualServer().reply(*STEPS[:4], reply)
    assert server.sent[-1] == b"QUIT\r\n"
    assert server.report().startswith(b"r\0Z192.0.2.7 failed on DATA command.\nRemote host said: " + reply[:3])


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("odd", ODD[:3])
def test_pipelined_replies_out_of_step_defer(place: int, odd: bytes) -> None:
    replies = [b"250 m\r\n", b"250 r\r\n", b"354 d\r\n"]
    replies[place] = odd if place < 2 else b"250 d\r\n"
    server = ManualServer().reply(*PIPELINED_STEPS[:2], b"".join(replies), b"550 late\r\n")
    assert report_of_output(server.report()).outcome == b"Z"
    assert MESSAGE[:8] not in b"".join(server.sent)


@pytest.mark.parametrize("steps", [STEPS, PIPELINED_STEPS])
@pytest.mark.parametrize("extra", [b"220 again\r\n", b"250 ok\r\n", b"550 no\r\n", b"2", b"\n"])
def test_a_reply_that_nothing_asked_for_defers_and_shifts_no_other(steps: list[bytes], extra: bytes) -> None:
    for step in range(len(steps) - 2):
        server = ManualServer(keep=True).reply(*steps[:step], steps[step] + extra)
        result = report_of_output(server.report())
        letter, text = result.outcome, result.text
        assert (letter, server.client.is_reusable) == (b"Z", False)
        assert b"it sent a reply that nothing had asked for." in text
        server.reply(*steps[step + 1 :])
        assert MESSAGE[:8] not in b"".join(server.sent)


@pytest.mark.parametrize(
    ("early", "letter"),
    [(b"552 too much\r\n", b"D"), (b"451 later\r\n", b"Z"), (b"250 k\r\n", b"Z"), (b"354 d\r\n", b"Z"), (b"x\n", b"Z")],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_an_answer_before_the_end_of_the_message_ends_it(early: bytes, letter: bytes, at_once: bool) -> None:
    server = ManualServer()
    client = server.client
    for piece in [*TO_CONTENT[:2], TO_CONTENT[2] + early] if at_once else TO_CONTENT:
        client.receive(piece)
    if not at_once:
        client.supply(MESSAGE)
        client.supply(MESSAGE)
        client.receive(early)
    sent = client.take_output()
    assert client.status == DONE
    assert b"QUIT" not in sent
    assert b"\r\n.\r\n" not in sent
    result = report_of_output(client.report)
    found, text = result.outcome, result.text
    assert found == letter
    assert early.strip() in text


def test_a_partial_reply_before_the_end_of_the_message_is_not_its_reply() -> None:
    server = ManualServer()
    for piece in [*TO_CONTENT, b"25"]:
        server.client.receive(piece)
    server.client.supply(MESSAGE)
    server.client.supply(b"")
    server.client.receive(b"0 k\r\n")
    assert report_of_output(server.report()).outcome == b"Z"
    assert b"\r\n.\r\n" not in server.client.take_output()


extras = st.sampled_from([b""] * 20 + STEPS)
to_the_end = st.tuples(*[st.tuples(st.sampled_from([step] * 40 + STEPS + BAD), extras) for step in STEPS[3:]])


@given(to_the_end)
def test_a_message_is_reported_as_accepted_by_its_final_reply_alone(script: tuple[tuple[bytes, bytes], ...]) -> None:
    """For any replies after MAIL: K needs the final dot, and a complete 2yz that came after it was sent."""
    server = ManualServer().reply(*STEPS[:3])
    for piece, extra in script:
        has_sent_all = b"\r\n.\r\n" in b"".join(server.sent)
        server.reply(piece + extra)
        if server.client.status == DONE:
            break
    is_accepted = server.client.status == DONE and b"\0K" in server.client.report
    is_begun_only = piece + extra == b"250-AUTH LOGIN\r\n"
    assert is_accepted == (has_sent_all and piece[:1] == b"2" and not is_begun_only)


@given(st.lists(st.binary(min_size=1, max_size=20).map(lambda text: text.replace(b"\r", b"\n")), max_size=8))
def test_a_server_restores_the_dot_stuffed_content(pieces: list[bytes]) -> None:
    message = b"".join([*pieces, b"\n"])
    server = ManualServer()
    for piece in TO_CONTENT:
        server.client.receive(piece)
    server.client.take_output()
    for piece in [*pieces, b"\n", b""]:
        if piece or server.client.status == CONTENT:
            server.client.supply(piece)
    assert server.client.status == WAITING
    wire = server.client.take_output()
    assert wire.endswith(b"\r\n.\r\n")
    assert wire.find(b"\r\n.\r\n") == len(wire) - 5
    lines = wire[:-3].split(b"\r\n")[:-1]
    assert b"".join(line.removeprefix(b".") + b"\n" for line in lines) == message


# --------------------------------------------------------------------- TLS

TLS_EHLO = b"250-x\r\n250-PIPELINING\r\n250 StartTLS\r\n"


def test_tls_begins_after_its_reply_and_ehlo_is_repeated() -> None:
    server = ManualServer(tls=IF_OFFERED).reply(b"220 hi\r\n", TLS_EHLO, b"220 go\r\n")
    assert server.sent == [b"EHLO me.test\r\n", b"STARTTLS\r\n", b""]
    assert server.client.status == HANDSHAKE
    server.client.tls_established()
    assert server.client.status == WAITING
    assert server.client.take_output() == b"EHLO me.test\r\n"
    # Pipelining was offered before, by whomever.
    assert server.reply(PLAIN_EHLO).sent[-1] == b"MAIL FROM:<s@x>\r\n"


@given(st.binary(min_size=1), st.booleans())
def test_bytes_between_the_reply_and_tls_defer_in_any_fragmentation(injected: bytes, at_once: bool) -> None:
    server = ManualServer(tls=IF_OFFERED).reply(b"220 hi\r\n", TLS_EHLO)
    if at_once:
        server.reply(b"220 go\r\n" + injected)
    else:
        server.reply(b"220 go\r\n", injected)
    reason = b"ZTLS connect failed: plain text behind the answer to STARTTLS; connecting to 192.0.2.7.\n\0"
    assert server.report() == reason
    assert server.sent[-1] == b""
    assert not server.client.has_broken_tls


def test_implicit_tls_precedes_the_greeting_once() -> None:
    server = ManualServer(tls=TlsPolicy(True, b"", True), keep=True)
    assert server.client.status == HANDSHAKE
    server.client.tls_established()
    server.reply(b"220 hi\r\n", TLS_EHLO, b"250 a\r\n250 b\r\n354 c\r\n", b"250 k\r\n")
    assert b"STARTTLS" not in b"".join(server.sent)
    server.client.begin(b"s@x", [b"r@y"])
    assert server.client.status == WAITING


def test_a_connection_lost_under_tls_reports_the_tls_error() -> None:
    server = ManualServer(tls=IF_OFFERED).reply(b"220 hi\r\n", PLAIN_EHLO)
    server.client.lost(b"bad record mac")
    assert server.report() == b"ZConnected to 192.0.2.7 but connection died. bad record mac (#4.4.2)\n\0"


@pytest.mark.parametrize("answer", [b"", b"454 TLS is not there now\r\n", b"421 TLS is not there now\r\n"])
def test_a_server_that_disconnects_at_starttls_is_reported_so(answer: bytes) -> None:
    server = ManualServer(tls=IF_OFFERED).reply(b"220 hi\r\n", TLS_EHLO, answer)
    server.client.lost()
    assert server.client.has_broken_tls
    reason = b" was refused (%b) and" % answer.strip() if answer else b","
    assert (
        server.report() == b"ZTLS connect failed: STARTTLS" + reason + b" connection died; connecting to 192.0.2.7.\n\0"
    )


def test_a_refused_starttls_is_no_tls_failure() -> None:
    server = ManualServer(tls=IF_OFFERED).reply(b"220 hi\r\n", TLS_EHLO, b"454 no\r\n", b"250 a\r\n")
    server.client.lost()
    assert not server.client.has_broken_tls
    assert b"but connection died" in server.report()


@pytest.mark.parametrize("answer", [b"250 what\r\n", b"354 go\r\n", b"hello\r\n"])
def test_an_unexpected_reply_to_starttls_defers(answer: bytes) -> None:
    server = ManualServer(tls=IF_OFFERED).reply(b"220 hi\r\n", TLS_EHLO, answer)
    assert server.report() == b"ZSTARTTLS rejected; connecting to 192.0.2.7.\nRemote host said: %b\n\0" % answer.strip()
