"""AUTH dialogues: from lines to credentials."""

from base64 import b64encode

import pytest

from eqmail_core.auth.credentials import CRAM_MD5, LOGIN, PLAIN, Credentials
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.sasl import SaslExchange


def reported(answer: bytes | Credentials) -> tuple[bytes, bytes, bytes]:
    assert isinstance(answer, Credentials)
    return answer.user, answer.password, answer.challenge


def test_login_asks_for_user_and_password() -> None:
    exchange = SaslExchange(LOGIN, b"")
    assert exchange.begin(b"") == b"334 VXNlcm5hbWU6"
    assert exchange.receive(b64encode(b"joe")) == b"334 UGFzc3dvcmQ6"
    assert reported(exchange.receive(b64encode(b"secret"))) == (b"joe", b"secret", b"")


def test_login_takes_the_user_from_the_command() -> None:
    exchange = SaslExchange(LOGIN, b"")
    assert exchange.begin(b64encode(b"joe")) == b"334 UGFzc3dvcmQ6"


def test_plain_ignores_the_identity_to_act_for() -> None:
    assert reported(SaslExchange(PLAIN, b"").begin(b64encode(b"boss\0joe\0secret"))) == (b"joe", b"secret", b"")
    exchange = SaslExchange(PLAIN, b"")
    assert exchange.begin(b"") == b"334 "
    assert reported(exchange.receive(b64encode(b"\0joe\0secret"))) == (b"joe", b"secret", b"")


def test_cram_md5_passes_the_challenge_with_the_digest() -> None:
    exchange = SaslExchange(CRAM_MD5, b"<1.2@mx>")
    assert exchange.begin(b"") == b"334 " + b64encode(b"<1.2@mx>")
    assert reported(exchange.receive(b64encode(b"joe 0123abcd"))) == (b"joe", b"0123abcd", b"<1.2@mx>")


@pytest.mark.parametrize("line", [b"", b"=", b"!!!", b64encode(b"joe"), b64encode(b"\0\0x"), b64encode(b"\0u\0")])
def test_malformed_plain_is_no_credentials(line: bytes) -> None:
    assert SaslExchange(PLAIN, b"").receive(line) == reply.AUTH_MALFORMED


@pytest.mark.parametrize("text", [b"\0joe\0secret\0", b"\0joe\0secret\0more", b"a\0joe\0secret\0\0"])
def test_plain_has_three_fields_and_no_more(text: bytes) -> None:
    assert SaslExchange(PLAIN, b"").receive(b64encode(text)) == reply.AUTH_MALFORMED


def test_credentials_never_hold_a_nul() -> None:
    exchange = SaslExchange(LOGIN, b"")
    exchange.begin(b64encode(b"joe\0root"))
    assert exchange.receive(b64encode(b"x")) == reply.AUTH_MALFORMED


@pytest.mark.parametrize("method", [LOGIN, PLAIN, CRAM_MD5])
def test_a_star_cancels(method: bytes) -> None:
    exchange = SaslExchange(method, b"<1.2@mx>")
    exchange.begin(b"")
    assert exchange.receive(b"*") == reply.AUTH_CANCELED
