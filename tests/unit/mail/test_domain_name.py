"""Domains beyond ASCII in the form that tables and the DNS know."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.mail.domain_name import ascii_domain, table_key


@pytest.mark.parametrize(
    ("domain", "known"),
    [
        ("example.org", "example.org"),
        ("Example.ORG", "Example.ORG"),
        ("müller.example", "xn--mller-kva.example"),
        ("MÜLLER.Example", "xn--mller-kva.example"),
        ("mu\u0308ller.example", "xn--mller-kva.example"),
        (".müller.example", ".xn--mller-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("", ""),
    ],
)
def test_a_domain_beyond_ascii_becomes_what_the_dns_knows(domain: str, known: str) -> None:
    assert ascii_domain(domain.encode()) == known.encode()


@pytest.mark.parametrize("domain", [b"m\xfcller.example", b"\xc3", "xn--ü.example".encode(), ("ü" * 64).encode()])
def test_an_invalid_domain_stays_unchanged(domain: bytes) -> None:
    assert ascii_domain(domain) == domain


def test_tables_compare_without_regard_to_case() -> None:
    assert table_key("MÜLLER.Example".encode()) == table_key(b"XN--MLLER-KVA.example") == b"xn--mller-kva.example"


def test_of_an_address_only_the_domain_changes_its_form() -> None:
    assert table_key("Jörg@müller.example".encode()) == "jörg@xn--mller-kva.example".encode()
    assert table_key("@müller.example".encode()) == b"@xn--mller-kva.example"
    assert table_key(b"a@b@C.d") == b"a@b@c.d"


@given(st.binary())
def test_normalizing_bytes_is_idempotent(domain: bytes) -> None:
    once = ascii_domain(domain)
    assert ascii_domain(once) == once


@given(st.text())
def test_normalizing_text_is_idempotent(domain: str) -> None:
    once = ascii_domain(domain.encode("utf-8", "surrogatepass"))
    assert ascii_domain(once) == once
