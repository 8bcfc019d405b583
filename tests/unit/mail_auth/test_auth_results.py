"""Authentication-Results: written as in RFC 8601, read back, and removed where a message claims to be from here."""

import authres
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.mail_auth.auth_results import (
    InvalidResults,
    MethodResult,
    claims_to_be_from,
    parse_results,
    render_results,
    without_own,
)

RESULTS = [
    MethodResult(b"spf", b"pass", [(b"smtp.mailfrom", b"joe@a.test")]),
    MethodResult(
        b"dkim", b"fail", [(b"header.d", b"a.test"), (b"header.b", b"AB+/12=")], b"body hash", b"2048-bit key"
    ),
    MethodResult(b"dmarc", b"none", [(b"header.from", b"a.test")]),
]


def content(field: bytes) -> bytes:
    return field.partition(b":")[2]


def test_what_is_written_is_read_here_and_by_authres() -> None:
    field = render_results(b"mx.test", RESULTS)
    host, found = parse_results(content(field))
    assert host == b"mx.test"
    assert [(it.method, it.result, it.properties, it.reason) for it in found] == [
        (it.method, it.result, it.properties, it.reason) for it in RESULTS
    ]
    others = authres.AuthenticationResultsHeader.parse(field.replace(b"\n", b"\r\n").decode())
    assert others.authserv_id == "mx.test"
    assert [(it.method, it.result) for it in others.results] == [("spf", "pass"), ("dkim", "fail"), ("dmarc", "none")]
    assert others.results[1].properties[0].value == "a.test"


def test_no_results_are_written_as_none() -> None:
    assert render_results(b"mx.test", []) == b"Authentication-Results: mx.test;\n\tnone"
    assert parse_results(b" mx.test; none") == (b"mx.test", [])
    assert parse_results(b" mx.test 1; none") == (b"mx.test", [])


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_untrusted_values_cannot_add_a_result_or_a_field(value: bytes, reason: bytes) -> None:
    result = MethodResult(b"spf", b"fail", [(b"smtp.mailfrom", value)], reason, reason)
    field = render_results(b"mx.test", [result])
    assert field.count(b"\n") == 1
    _, found = parse_results(content(field))
    assert [(it.method, it.result) for it in found] == [(b"spf", b"fail")]


def test_the_example_of_the_rfc_with_comments_is_read() -> None:
    """Source: RFC 8601 appendix B.7."""
    text = (
        b" foo.example.net (foobar) 1 (baz);\n\tdkim (Because I like it) / 1 (One yay) = (wait for it) fail\n"
        b"\tpolicy (A dot can go here) . (like that) expired\n"
        b"\t(this surprised me) = (as I wasn't expecting it) 1362471462"
    )
    host, found = parse_results(text)
    assert host == b"foo.example.net"
    assert (found[0].method, found[0].result) == (b"dkim", b"fail")
    assert found[0].properties == [(b"policy.expired", b"1362471462")]


@pytest.mark.parametrize(
    "field",
    [
        b"Authentication-Results: mx.test; dkim=pass\n",
        b"authentication-results : (c) MX.test 1; none\n",
        b"Authentication-Results:\n\tmx.test;\n\tnone\n",
        b'Authentication-Results: "mx.test"; none\n',
        b"Authentication-Results: mx.test\n",
        b"Authentication-Results: mx.test (unclosed; dkim=pass\n",
        b"Authentication-Results: (nested (x)) mx.test; none\n",
    ],
)
def test_fields_that_claim_to_come_from_this_host(field: bytes) -> None:
    assert claims_to_be_from(field, b"mx.test")
    assert without_own([field, b"To: x\n"], b"mx.test") == [b"To: x\n"]


@pytest.mark.parametrize(
    "field",
    [
        b"Authentication-Results: other.test; dkim=pass header.d=mx.test\n",
        b"Authentication-Results: mx.test.evil; none\n",
        b"ARC-Authentication-Results: i=1; mx.test; none\n",
        b"X: mx.test\n",
    ],
)
def test_fields_of_others_stay(field: bytes) -> None:
    assert without_own([field], b"mx.test") == [field]


@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    try:
        parse_results(text)
    except InvalidResults:
        pass
