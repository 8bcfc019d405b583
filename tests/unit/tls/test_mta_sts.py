"""MTA-STS records and policies: what is valid, and which exchangers a policy names."""

import pytest

from eqmail_core.tls.mta_sts import MAX_AGE_S, MAX_PATTERNS, StsPolicy, parse_policy, policy_id

POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.Example.net\r\nmax_age: 604800\r\n"


def test_a_policy_is_read_with_any_line_end_and_unknown_fields() -> None:
    for text in (POLICY, POLICY.replace(b"\r\n", b"\n"), POLICY + b"future: x\r\n", POLICY.replace(b": ", b":")):
        found = parse_policy(text)
        assert found
        expected = (b"enforce", (b"mail.example.com", b"*.example.net"), 604800)
        assert (found.mode, found.patterns, found.max_age_s) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\0\xff" * 100,
        POLICY.replace(b"STSv1", b"STSv2"),
        POLICY.replace(b"enforce", b"maybe"),
        POLICY.replace(b"604800", b"soon"),
        POLICY.replace(b"604800", b"1" * 11),
        POLICY.replace(b"max_age", b"age"),
        b"version: STSv1\nmode: enforce\nmax_age: 1\n",
        b"<html>version: STSv1</html>",
    ],
)
def test_what_is_no_policy_is_none(text: bytes) -> None:
    assert parse_policy(text) is None


def test_a_policy_is_bounded() -> None:
    found = parse_policy(b"version: STSv1\nmode: testing\nmax_age: 9999999999\n" + b"mx: a.test\n" * 5000)
    assert found
    assert (len(found.patterns), found.max_age_s) == (MAX_PATTERNS, MAX_AGE_S)


def test_mode_none_needs_no_exchanger() -> None:
    assert parse_policy(b"version: STSv1\nmode: none\nmax_age: 86400\n")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"mail.example.com", True),
        (b"MAIL.example.com.", True),
        (b"mx.example.net", True),
        (b"a.mx.example.net", False),
        (b"example.net", False),
        (b"example.com", False),
        (b"xmail.example.com", False),
        (b"", False),
    ],
)
def test_a_star_stands_for_one_label(host: bytes, expected: bool) -> None:
    assert StsPolicy(b"enforce", (b"mail.example.com", b"*.example.net"), 1).names(host) is expected


def test_a_policy_is_rendered_as_it_is_read() -> None:
    found = parse_policy(POLICY)
    assert found
    assert found.render() == POLICY.replace(b"Example", b"example")


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ((b"v=STSv1; id=20160831085700Z;",), b"20160831085700Z"),
        ((b"v=STSv1;id=1",), b"1"),
        ((b"v=spf1 -all", b"v=STSv1; id=1"), b"1"),
        ((b"v=STSv1; id=1", b"v=STSv1; id=2"), None),
        ((b"v=STSv1; id=not-valid;",), None),
        ((b"v=STSv1; id=" + b"1" * 33,), None),
        ((b"v=STSv1",), None),
        ((b"v=STSv10; id=1",), None),
        ((), None),
    ],
)
def test_the_id_of_the_one_valid_record(records: tuple[bytes, ...], expected: bytes | None) -> None:
    assert policy_id(records) == expected
