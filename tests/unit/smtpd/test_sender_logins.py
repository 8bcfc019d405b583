"""Which senders a login may use, and which authors a message may have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.control.sender_logins import SenderLoginLines, SenderLogins
from eqmail_core.smtpd.policy.author_check import author_addresses
from eqmail_core.smtpd.policy.message_checks import MAX_HEADER, MessageChecks

SENDERS = SenderLogins(
    b"# comment\njoe@x.test self @lists.x.test\njoe@x.test Sales@X.Test\nrobot any\n* self\nbob ann@x.test\n"
)


@pytest.mark.parametrize(
    ("login", "sender", "may"),
    [
        (b"joe@x.test", b"joe@x.test", True),
        (b"JOE@X.test", b"Joe@x.TEST", True),
        (b"joe@x.test", b"sales@x.test", True),
        (b"joe@x.test", b"any@lists.x.test", True),
        (b"joe@x.test", b"any@evil.lists.x.test", False),
        (b"joe@x.test", b"x@lists.x.test@evil.test", False),
        (b"joe@x.test", b"ann@x.test", False),
        (b"joe@x.test", b"", True),
        (b"robot", b"whoever@anywhere", True),
        (b"eve@x.test", b"eve@x.test", True),
        (b"eve@x.test", b"joe@x.test", False),
        (b"eve@x.test", b"self", False),
        (b"bob", b"ann@x.test", True),
        (b"bob", b"bob", False),
    ],
)
def test_a_login_may_use_the_senders_of_its_lines(login: bytes, sender: bytes, may: bool) -> None:
    assert SENDERS.may_use(login, sender) is may


def test_without_a_line_for_all_a_login_without_a_line_may_use_every_sender() -> None:
    assert SenderLogins(b"joe joe@x.test\n").may_use(b"ann", b"joe@x.test")


def test_a_hundred_thousand_lines_are_found_by_login() -> None:
    senders = SenderLogins(b"".join(b"user%d user%d@x.test\n" % (each, each) for each in range(100_000)))
    assert senders.may_use(b"user99999", b"user99999@x.test") and not senders.may_use(b"user99999", b"user1@x.test")
    assert len(senders.logins) == 100_000


@pytest.mark.parametrize("line", [b"joe", b"joe  ", b"joe nobody", b"joe *@x.test", b"joe x@", b"\xff \xfe"])
def test_wrong_lines_are_remarked(line: bytes) -> None:
    value, remarks = SenderLoginLines("", default=None).parse(line + b"\nann ann@x.test\n")
    assert len(remarks) == 1
    assert value is not None and value.may_use(b"ann", b"ann@x.test")


@pytest.mark.parametrize(
    ("field", "authors"),
    [
        (b"From: a@x\n", [b"a@x"]),
        (b"From: A <a@x>, b@y (c@z)\n", [b"b@y", b"a@x"]),
        (b'From: "x@good" <x@evil>\n', [b"x@evil"]),
        (b"From: g: a@x, b@y;\n", [b"b@y", b"a@x"]),
        (b"From: a@x> b@y\n", [b"a@x", b"b@y"]),
        (b"From:\n", []),
        (b"FROM : a@x\n", [b"a@x"]),
    ],
)
def test_every_address_of_from_is_an_author(field: bytes, authors: list[bytes]) -> None:
    assert author_addresses(field) == authors


@given(st.binary(max_size=200))
def test_any_from_field_can_be_read(text: bytes) -> None:
    author_addresses(b"From: " + text)


def seen_headers(*pieces: bytes) -> list[bytes]:
    seen: list[bytes] = []
    checks = MessageChecks(0, lambda header: seen.append(header) or True)  # type: ignore[func-returns-value]
    for piece in pieces:
        checks.receive(piece)
    checks.end()
    checks.end()
    return seen


@given(st.integers(1, 7))
def test_the_header_is_examined_once_however_it_arrives(size: int) -> None:
    text = b"A: b\nFrom: c@d\n\nbody\n\nFrom: e@f\n"
    assert seen_headers(*(text[at : at + size] for at in range(0, len(text), size))) == [b"A: b\nFrom: c@d"]


def test_a_message_without_body_or_without_header_is_examined_too() -> None:
    assert seen_headers(b"From: a@b\n") == [b"From: a@b\n"]
    assert seen_headers(b"\nFrom: a@b\n") == [b""]


def test_a_header_without_end_takes_bounded_memory() -> None:
    (header,) = seen_headers(*[b"X: " + b"y" * 1000 + b"\n"] * 3000)
    assert MAX_HEADER <= len(header) < MAX_HEADER + 2000
