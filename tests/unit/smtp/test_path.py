"""Addresses and parameters of MAIL and RCPT, as C reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.smtp.path import MAX_PATH, address_literal, decode_xtext, parse_parameters, parse_path


@pytest.mark.parametrize(
    ("argument", "address"),
    [
        (b"FROM:<a@b>", b"a@b"),
        (b"FROM:a@b c@d", b"a@b"),
        (b"TO:   n@EXAMPLE.org foo", b"n@EXAMPLE.org"),
        (b"", b""),
        (b"FROM", b""),
        (b"TO:", b""),
        (b"TO:>", b">"),
        (b"FROM:<>", b""),
        (b"TO:<a@b", b"a@b"),
        (b"TO:Name <a@b> x", b"a@b"),
        (b"FROM:<a b@c>", b"a b@c"),
        (b'FROM:<"a>b"@c>', b"a>b@c"),
        (b"TO:<a\\>b@c>", b"a>b@c"),
        (b'FROM:<\\<"a b"c\\@d@e>', b"<a bc@d@e"),
        (b"TO:<a\\", b"a"),
        (b'FROM:<"a', b"a"),
        (b"TO:<@r1,@r2:z@example.org>", b"z@example.org"),
        (b"TO:<@r a@b>", b""),
        (b"FROM:<<a@b>>", b"<a@b"),
        (b"TO:x:a@b:c", b"x:a@b:c"),
        (b"FROM:\ta@b", b"\ta@b"),
    ],
)
def test_addresses_are_read_leniently(argument: bytes, address: bytes) -> None:
    assert parse_path(argument) == address


def test_addresses_have_a_length_limit() -> None:
    assert parse_path(b"TO:<%b>" % (b"x" * MAX_PATH)) == b"x" * MAX_PATH
    assert parse_path(b"TO:<%b>" % (b"x" * (MAX_PATH + 1))) is None


@given(st.binary(max_size=60))
def test_no_argument_raises(argument: bytes) -> None:
    parse_path(argument)
    parse_parameters(argument)


@pytest.mark.parametrize(
    ("argument", "size", "identity"),
    [
        (b"FROM:<a@b> SIZE=5 AUTH=<>", 5, b"unknown"),
        (b"FROM:<> size=101", 101, None),
        (b"FROM:<a@b> FOO SIZE=7", 7, None),
        (b"FROM:<a@b>SIZE=7", None, None),
        (b"FROM:<a@b> SIZE=abc", None, None),
        (b"FROM:<a@b> SIZE=", None, None),
        (b"FROM:a@b SIZE=7", None, None),
        (b"FROM:<a@b> BODY=8BITMIME", None, None),
        (b"FROM:<a@b> SIZE=%b" % (b"9" * 5000), int("9" * 19), None),
    ],
)
def test_parameters_stand_between_blanks_after_an_address(
    argument: bytes, size: int | None, identity: bytes | None
) -> None:
    assert parse_parameters(argument) == (size, identity)


def test_xtext_knows_two_codes_and_drops_other_plus_signs() -> None:
    assert decode_xtext(b"x+2By+zz") == b"x+yzz"
    assert decode_xtext(b"a+3Db") == b"a=b"


@pytest.mark.parametrize(
    ("address", "literal"),
    [
        (b"a@[127.0.0.1]", b"127.0.0.1"),
        (b"a@[127.0.0.01]", b"127.0.0.1"),
        (b"a@[127.0.0.1]x", None),
        (b"a@[256.0.0.1]", None),
        (b"a@[1.2.3]", None),
        (b"[1.2.3.4]", None),
        (b"a@b", None),
    ],
)
def test_only_a_dotted_address_in_brackets_is_a_literal(address: bytes, literal: bytes | None) -> None:
    assert address_literal(address) == literal
