"""DSN and SMTPUTF8 in MAIL and RCPT: what is offered, taken, refused, and what no client can break."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.dsn.parameters import DsnParameters, RecipientDsn, parse_dsn, render_dsn
from eqmail_core.dsn.smtp_parameters import (
    BadParameter,
    mail_parameters,
    read_mail,
    read_recipient,
    recipient_parameters,
)
from eqmail_core.smtpd.protocol.options import ServerOptions
from tests.unit.dsn.test_parameters import DSN, NEWS, ORCPT, content
from tests.unit.smtpd.test_session import Client

RULES = ServerOptions(b"mx", offers_notify=True, offers_utf8=True)
BAD = b"501 syntax error in parameters (#5.5.4)\r\n"


def test_the_offer_depends_on_the_options() -> None:
    assert Client(RULES).send(b"EHLO c\r\n").endswith(b"250-SIZE 0\r\n250-DSN\r\n250 SMTPUTF8\r\n")
    assert b"DSN" not in Client(ServerOptions(b"mx", offers_utf8=True)).send(b"EHLO c\r\n")


def test_requiretls_is_offered_and_taken_under_tls_alone() -> None:
    refusal = b"550 sorry, REQUIRETLS is not offered here (#5.7.30)\r\n"
    for offers, is_secure, is_good in ((True, True, True), (True, False, False), (False, True, False)):
        client = Client(ServerOptions(b"mx", offers_requiretls=offers))
        if is_secure:
            client.core.tls_started()
        assert (b"250 REQUIRETLS\r\n" in client.send(b"EHLO c\r\n")) == is_good
        answer = client.send(b"MAIL FROM:<a@b> REQUIRETLS\r\n")
        assert answer == (b"250 ok\r\n" if is_good else refusal)
        assert render_dsn(client.core.dsn) == (b"W T" if is_good else b"")
    client = Client(ServerOptions(b"mx", offers_requiretls=True))
    client.core.tls_started()
    assert client.send(b"MAIL FROM:<a@b> REQUIRETLS=1\r\n") == BAD
    assert client.send(b"MAIL FROM:<a@b> REQUIRETLS REQUIRETLS\r\n") == BAD


def test_dsn_parameters_count_for_one_message() -> None:
    client = Client(RULES)
    client.send(b"EHLO c\r\nMAIL FROM:<a@b> SIZE=10 RET=HDRS ENVID=QQ+2B SMTPUTF8 BODY=8BITMIME\r\n")
    client.send(b"RCPT TO:<c@d> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;C+40D\r\nRCPT TO:<e@f>\r\n")
    client.send(b"RCPT TO:<g@h> notify=never\r\n")
    assert render_dsn(client.core.dsn) == b"W U H E:QQ+2B 0:sf:rfc822;C+40D 2:n:"
    client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n")
    assert client.core.dsn is None
    client.send(b"RCPT TO:<c@d> NOTIFY=DELAY\r\n")
    assert render_dsn(client.core.dsn) == b"W 1:d:"


@pytest.mark.parametrize(
    "command",
    [
        b"MAIL FROM:<a@b> RET=HALF",
        b"MAIL FROM:<a@b> RET=",
        b"MAIL FROM:<a@b> RET",
        b"MAIL FROM:<a@b> RET=FULL RET=HDRS",
        b"MAIL FROM:<a@b> ENVID=",
        b"MAIL FROM:<a@b> ENVID=a=b",
        b"MAIL FROM:<a@b> ENVID=a+4",
        b"MAIL FROM:<a@b> ENVID=" + b"x" * 101,
        b"MAIL FROM:<a@b> SMTPUTF8=yes",
        b"RCPT TO:<a@b> NOTIFY=",
        b"RCPT TO:<a@b> NOTIFY=NEVER,SUCCESS",
        b"RCPT TO:<a@b> NOTIFY=OFTEN",
        b"RCPT TO:<a@b> NOTIFY=SUCCESS NOTIFY=SUCCESS",
        b"RCPT TO:<a@b> ORCPT=a@b",
        b"RCPT TO:<a@b> ORCPT=rfc822;",
        b"RCPT TO:<a@b> ORCPT=rfc822;a=b",
        b"RCPT TO:<a@b> ORCPT=rfc822;a ORCPT=rfc822;a",
        b"RCPT TO:<a@b> ORCPT=rfc822;" + b"x" * 500,
    ],
)
def test_invalid_parameters_are_refused(command: bytes) -> None:
    client = Client(RULES)
    client.send(b"MAIL FROM:<a@b>\r\n")
    assert client.send(command + b"\r\n") == BAD
    assert client.core.recipients == []
    if command.startswith(b"RCPT"):
        assert client.send(b"RCPT TO:<a@b>\r\n") == b"250 ok\r\n"


def test_parameters_not_offered_are_ignored_as_by_c() -> None:
    client = Client()
    assert client.send(b"MAIL FROM:<a@b> RET=HALF SMTPUTF8=1\r\nRCPT TO:<c@d> NOTIFY=x\r\n") == b"250 ok\r\n" * 2
    assert client.core.dsn is None


def test_parameters_follow_the_address_wherever_it_ends() -> None:
    client = Client(RULES)
    client.send(b'MAIL FROM:<"a b> RET=FULL"@c> RET=HDRS\r\n')
    assert client.core.sender == b"a b> RET=FULL@c"
    assert render_dsn(client.core.dsn) == b"W H"
    client.send(b"RCPT TO:c@d ORCPT=rfc822;c>\r\n")
    assert client.core.recipients == [b"c@d"]
    assert render_dsn(client.core.dsn) == b"W H 0::rfc822;c>"


def test_hexadecimal_digits_in_small_letters_are_understood() -> None:
    recipient_dsn = read_recipient(b" ORCPT=rfc822;a+2bb@c")
    assert recipient_dsn is not None and recipient_dsn.orcpt == b"rfc822;a+2Bb@c"


@given(st.text(max_size=60).map(str.encode) | st.binary(max_size=60), st.sampled_from([b"MAIL FROM:", b"RCPT TO:"]))
def test_no_parameter_breaks_the_conversation(soup: bytes, command: bytes) -> None:
    client = Client(RULES)
    client.send(b"MAIL FROM:<a@b>\r\n")
    line = command + b"<c@d> " + soup.replace(b"\n", b" ") + b"\r\n"
    assert client.send(line)[:4] in (b"250 ", b"501 ", b"552 ", b"555 ")
    assert client.send(b"NOOP\r\n") == b"250 ok\r\n"
    text = render_dsn(client.core.dsn)
    assert not text or render_dsn(parse_dsn(text)) == text


PARAMETERS = st.lists(
    st.sampled_from(
        [b"RET=", b"ENVID=", b"SMTPUTF8", b"NOTIFY=", b"ORCPT=", b"ret=full", b"NOTIFY=never", b"a+2B", b";"]
    )
    | st.binary(max_size=4),
    max_size=6,
).map(b" ".join)


@given(PARAMETERS)
def test_any_parameters_are_read_or_refused(soup: bytes) -> None:
    for read in (lambda: read_mail(soup, True, True), lambda: read_recipient(soup)):
        try:
            read()
        except BadParameter:
            pass


@given(DSN)
def test_mail_parameters_are_sent_as_received(dsn: DsnParameters) -> None:
    dsn = dsn.with_recipients([])
    parsed = read_mail(mail_parameters(dsn, knows_dsn=True), True, True)
    assert (parsed is None) == (not render_dsn(dsn))
    if parsed is not None:
        assert content(parsed) == content(dsn)


@given(NEWS, st.just(b"") | ORCPT)
def test_recipient_parameters_are_sent_as_received(news: bytes, orcpt: bytes) -> None:
    parsed = read_recipient(recipient_parameters(RecipientDsn(news, orcpt)))
    assert (parsed.notify, parsed.orcpt) == (news, orcpt) if parsed is not None else not news and not orcpt
