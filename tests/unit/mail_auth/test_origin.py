"""The origin of a message comes from fields that this host has written, never from those below."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.mail.header_editor import EditedHeader
from eqmail_core.mail.received import invoked_line, received
from eqmail_core.mail_auth.key_states import KeyState, parse_states, render_states, signing_selectors
from eqmail_core.mail_auth.origin import began_here

NAMES = frozenset([b"mx.test", b"192.0.2.25"])
DATE = b"1 Jan 2026 00:00:00 -0000"
NETWORK = invoked_line(1, b"from network", DATE)
USER = invoked_line(1, b"by uid 1000", DATE)
FOREIGN = b"198.51.100.7"
RELAYING = b"192.0.2.99"


def client(protocol: bytes, ip: bytes = FOREIGN, by: bytes = b"mx.test", helo: bytes | None = b"h.test") -> bytes:
    return received(b"client.test", ip, None, helo, by, protocol, DATE)


def began(text: bytes) -> bool:
    fields = EditedHeader(text + b"From: joe@a.test\n\n").fields
    return began_here(fields, NAMES, lambda ip: ip == RELAYING)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        USER,
        invoked_line(1, b"for bounce", DATE),
        NETWORK + client(b"ESMTPA"),
        NETWORK + client(b"ESMTPSA (TLS_AES_256_GCM_SHA384 encrypted) (TLSv1.3)"),
        NETWORK + client(b"UTF8SMTPSA (x encrypted) (TLSv1.3)"),
        NETWORK + client(b"ESMTPS (x encrypted) (TLSv1.3)\n  (cert joe@a.test)"),
        NETWORK + client(b"ESMTP", RELAYING),
        NETWORK + client(b"QMTP", RELAYING),
        NETWORK + client(b"ESMTPA", by=b"192.0.2.25"),
        NETWORK + client(b"ESMTPA", by=b"MX.test", helo=None),
        # A local user's alias, forwarded by another: all of it happened here.
        b"Delivered-To: a@mx.test\n" + USER + USER,
        # What is below the login of a client is the client's own affair.
        NETWORK + client(b"ESMTPA") + client(b"ESMTP", by=b"other.test"),
    ],
)
def test_mail_that_began_here(text: bytes) -> None:
    assert began(text)


@pytest.mark.parametrize(
    "text",
    [
        NETWORK + client(b"ESMTP"),
        NETWORK + client(b"SMTP"),
        NETWORK + client(b"ESMTPS (x encrypted) (TLSv1.3)"),
        # A forward of foreign mail.
        USER + b"Delivered-To: a@mx.test\n" + NETWORK + client(b"ESMTP"),
        # A sender that forges our lines below.
        NETWORK + client(b"ESMTP") + NETWORK + client(b"ESMTPA"),
        # Fetched from elsewhere, and injected by a local program.
        USER + client(b"ESMTPSA (x encrypted) (TLSv1.3)", by=b"other.test"),
        USER + b"Received: from x.test by mx.test with ESMTPA; today\n",
        USER + b"Received: by mx.test\n",
        NETWORK + client(b"ESMTPX"),
    ],
)
def test_mail_that_did_not(text: bytes) -> None:
    assert not began(text)


@given(st.binary(max_size=100), st.binary(max_size=100), st.binary(max_size=60))
def test_no_name_of_a_client_makes_mail_begin_here(host: bytes, helo: bytes, info: bytes) -> None:
    line = received(host, FOREIGN, info, helo, b"mx.test", b"ESMTP", DATE)
    assert not began(NETWORK + line)


def test_states_of_keys_are_read_and_written() -> None:
    text = b"# keys\nr1 active 100\n\ne1 retiring 50\n"
    states = parse_states(text)
    assert states == [KeyState(b"r1", b"active", 100), KeyState(b"e1", b"retiring", 50)]
    assert parse_states(render_states(states)) == states
    assert signing_selectors(states) == [b"r1"]
    for wrong in (b"r1 active", b"r1 asleep 1", b"r1 active soon"):
        with pytest.raises(ValueError):
            parse_states(wrong)
