"""The mechanism that the client chooses, and its responses."""

import pytest

from eqmail_core.auth.client import CANCEL, ClientCredentials, answers, choose_mechanism, first_line


@pytest.mark.parametrize(
    ("lines", "mechanism"),
    [
        ([b"AUTH LOGIN"], b"LOGIN"),
        ([b"SIZE 9", b"AUTH PLAIN LOGIN CRAM-MD5"], b"LOGIN"),
        ([b"AUTH=LOGIN"], b"LOGIN"),
        ([b"auth login cram-md5"], b"LOGIN"),
        ([b"AUTH CRAM-MD5 LOGIN"], b"CRAM-MD5"),
        ([b"AUTH PLAIN"], b"PLAIN"),
        ([b"AUTH XOAUTH2 LOGIN"], b"LOGIN"),
        ([b"AUTH XOAUTH2"], None),
        ([b"AUTHENTIC LOGIN", b"8BITMIME"], None),
        ([b"AUTH"], None),
        ([], None),
    ],
)
def test_the_mechanism_follows_what_the_server_offers(lines: list[bytes], mechanism: bytes | None) -> None:
    assert choose_mechanism(lines) == mechanism


def test_cram_md5_answers_as_the_rfc_example() -> None:
    # RFC 2195 section 2.
    tim = ClientCredentials(b"tim", b"tanstaaftanstaaf")
    ((_, answer),) = answers(b"CRAM-MD5", tim)
    challenge = b"PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+"
    assert answer(challenge + b"\n") == b"dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"


def test_an_invalid_challenge_cancels() -> None:
    ((_, answer),) = answers(b"CRAM-MD5", ClientCredentials(b"u", b"p"))
    assert answer(b"abc") == CANCEL


def test_plain_sends_its_initial_response() -> None:
    assert (
        first_line(b"PLAIN", ClientCredentials(b"tim", b"tanstaaftanstaaf"))
        == b"AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm"
    )
    assert answers(b"PLAIN", ClientCredentials(b"u", b"p")) == []
