"""Canonical forms are those of RFC 6376 section 3.4, whatever pieces a body comes in."""

import hashlib
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.mail_auth.canonical import FORMS, RELAXED, SIMPLE, BodyHashes, CanonicalBody, canonical_field

BODIES = st.lists(st.sampled_from([b"a", b" ", b"\t", b"\n", b"\n\n", b"\r", b"bc", b"."]), max_size=30).map(b"".join)


def body_of(form: bytes, *pieces: bytes) -> bytes:
    body = CanonicalBody(form)
    return b"".join([text for piece in pieces for text in body.feed(piece)]) + body.finish()


def by_the_letter(body: bytes, form: bytes) -> bytes:
    """The body as the RFC describes it, in one step."""
    text = body.replace(b"\n", b"\r\n")
    if form == RELAXED:
        text = re.sub(rb"[ \t]+(?=\r\n|\Z)", b"", text)
        text = re.sub(rb"[ \t]+", b" ", text)
    text = re.sub(rb"(\r\n)*\Z", b"", text)
    return text + b"\r\n" if text or form == SIMPLE else b""


def test_the_examples_of_the_rfc() -> None:
    """Source: RFC 6376 section 3.4.5."""
    body = b" C \nD \t E\n\n\n"
    assert body_of(RELAXED, body) == b" C\r\nD E\r\n"
    assert body_of(SIMPLE, body) == b" C \r\nD \t E\r\n"
    assert canonical_field(b"A: X\n", RELAXED) == b"a:X\r\n"
    assert canonical_field(b"B : Y\t\n\tZ  \n", RELAXED) == b"b:Y Z\r\n"
    assert canonical_field(b"B : Y\t\n\tZ  \n", SIMPLE) == b"B : Y\t\r\n\tZ  \r\n"


@pytest.mark.parametrize(
    ("form", "digest"),
    [
        (SIMPLE, "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="),
        (RELAXED, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
    ],
)
def test_an_empty_body_has_the_hash_that_the_rfc_gives(form: bytes, digest: str) -> None:
    """Source: RFC 6376 sections 3.4.3 and 3.4.4."""
    import base64

    assert base64.b64encode(BodyHashes([form]).finish()[form]).decode() == digest


@pytest.mark.parametrize("form", FORMS)
@given(BODIES, st.lists(st.integers(0, 60), max_size=6))
def test_fragmentation_makes_no_difference(form: bytes, body: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(body), *(min(cut, len(body)) for cut in cuts)})
    pieces = [body[start:end] for start, end in pairwise(places)]
    assert body_of(form, *pieces) == by_the_letter(body, form)


@given(BODIES)
def test_relaxed_twice_is_relaxed_once(body: bytes) -> None:
    once = body_of(RELAXED, body).replace(b"\r\n", b"\n")
    assert body_of(RELAXED, once) == body_of(RELAXED, body)


def test_one_pass_gives_the_hash_of_every_form() -> None:
    hashes = BodyHashes(FORMS)
    for piece in (b"a  b", b" \n", b"c\n\n"):
        hashes.feed(piece)
    found = hashes.finish()
    assert found[SIMPLE] == hashlib.sha256(b"a  b \r\nc\r\n").digest()
    assert found[RELAXED] == hashlib.sha256(b"a b\r\nc\r\n").digest()


def test_a_body_of_empty_lines_needs_no_memory() -> None:
    body = CanonicalBody(SIMPLE)
    assert list(body.feed(b"\n" * 1_000_000)) == []
    longest = max(map(len, body.feed(b"x")))
    assert longest <= 65536
