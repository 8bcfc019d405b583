"""DKIM signatures: those of others and of our own hold, and whatever must not count does not."""

import base64
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.dns.query import DnsAnswer
from eqmail_core.mail_auth.canonical import FORMS, RELAXED, SIMPLE
from eqmail_core.mail_auth.dkim_key import InvalidKey, load_private_key, parse_key, private_pem, public_record
from eqmail_core.mail_auth.dkim_verify import MAX_SIGNATURES
from tests.support.mail_auth_harness import KEYS, NOW, SIGNED, published, signed, silent, split, texts, verify

DATA = Path(__file__).parents[2] / "data/mail_auth"
MESSAGE = b"From: Joe <joe@a.test>\nTo: j@b.test\nSubject:  two\n\twords  here \n\nbody\n..dot \n\n\ta  b\n\n\n"
ALL_FORMS = [(header, body) for header in FORMS for body in FORMS]

RFC8463_KEYS = {
    b"brisbane._domainkey.football.example.com": b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    b"test._domainkey.football.example.com": b"v=DKIM1; k=rsa; "
    b"p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W9"
    b"1y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
}


def results(message: bytes, **records: bytes) -> list[bytes]:
    table = published() | {name.encode() + b"._domainkey.a.test": text for name, text in records.items()}
    return [found.result for found in verify(message, texts(table))]


def reason(message: bytes) -> str:
    return verify(message)[0].reason.decode()


def test_the_message_of_rfc_8463_verifies_with_both_algorithms() -> None:
    found = verify((DATA / "rfc8463.eml").read_bytes(), texts(RFC8463_KEYS))
    assert [(it.result, it.bits) for it in found] == [(b"pass", 256), (b"pass", 1024)]


def test_a_message_that_exim_signed_verifies() -> None:
    message = (DATA / "exim-ed25519.eml").read_bytes().replace(b"\r\n", b"\n")
    key = b"v=DKIM1; k=ed25519; p=sPs07Vu29FpHT/80UXUcYHFOHifD4o2ZlP2+XUh9g6E="
    assert [it.result for it in verify(message, texts({b"sed._domainkey.test.ex": key}))] == [b"pass"]


@pytest.mark.parametrize("forms", ALL_FORMS)
def test_what_is_signed_here_verifies_here_and_with_dkimpy(forms: tuple[bytes, bytes]) -> None:
    message = signed(MESSAGE, forms)
    assert results(message) == [b"pass", b"pass"]
    keys = published()
    for place in range(2):
        wire = message.replace(b"\n", b"\r\n")
        assert dkim.DKIM(wire).verify(place, dnsfunc=lambda name, timeout=5: keys[name.rstrip(b".")])


@pytest.mark.parametrize("forms", ALL_FORMS)
@pytest.mark.parametrize("selector", [b"r", b"e"])
def test_what_dkimpy_signs_verifies_here(forms: tuple[bytes, bytes], selector: bytes) -> None:
    key = KEYS[selector]
    if selector == b"r":
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    else:
        pem = base64.b64encode(
            key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
        )
    algorithm = b"rsa-sha256" if selector == b"r" else b"ed25519-sha256"
    wire = MESSAGE.replace(b"\n", b"\r\n")
    field = dkim.sign(wire, selector, b"a.test", pem, canonicalize=forms, signature_algorithm=algorithm)
    assert results((field + wire).replace(b"\r\n", b"\n")) == [b"pass"]


HEADERS = st.lists(
    st.sampled_from([b"Subject: x\n", b"To: y\n\tz \n", b"X-A: 1\n", b"From: e@a.test\n", b"Date:  d\n"]), max_size=5
)
TEXTS = st.lists(st.sampled_from([b"a", b" ", b"\t", b"\n", b"\r", b".", b"\xff"]), max_size=40).map(b"".join)


@given(HEADERS, TEXTS, st.sampled_from(ALL_FORMS))
def test_any_signed_message_verifies_here_and_with_dkimpy(
    header: list[bytes], body: bytes, forms: tuple[bytes, bytes]
) -> None:
    message = signed(b"From: joe@a.test\n" + b"".join(header) + b"\n" + body + b"\n", forms)
    assert results(message) == [b"pass", b"pass"]
    if b"\r" not in body and header.count(b"From: e@a.test\n") == 0:
        # dkimpy refuses messages with two From fields, and takes a CR for a line end.
        keys = published()
        wire = message.replace(b"\n", b"\r\n")
        assert dkim.DKIM(wire).verify(1, dnsfunc=lambda name, timeout=5: keys[name.rstrip(b".")])


@pytest.mark.parametrize(
    "change",
    [
        (b"body\n", b"bodx\n"),
        (b"two", b"three"),
        (b"To: j@b.test", b"To: k@b.test"),
        (b"\nFrom: Joe", b"\nFrom: <x@evil.test>\nFrom: Joe"),
        (b"\nSubject:", b"\nSubject: added\nSubject:"),
        (b"\nTo:", b"\nCc: added@b.test\nTo:"),
    ],
)
def test_a_changed_or_added_field_or_body_fails(change: tuple[bytes, bytes]) -> None:
    assert results(signed(MESSAGE).replace(*change)) == [b"fail", b"fail"]


def test_an_appended_line_fails_for_the_body_length_does_not_count() -> None:
    """l= lets anyone append to a message; a signature with it is never a pass."""
    wire = MESSAGE.replace(b"\n", b"\r\n")
    pem = KEYS[b"r"].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    field = dkim.sign(wire, b"r", b"a.test", pem, length=True)
    message = (field + wire).replace(b"\r\n", b"\n")
    assert dkim.verify((field + wire) + b"appended\r\n", dnsfunc=lambda name, timeout=5: published()[name.rstrip(b".")])
    assert results(message + b"appended\n") == results(message) == [b"neutral"]


def test_names_in_h_count_whatever_their_case() -> None:
    fields, body = split(signed(MESSAGE))
    for name in (b"FROM", b"from", b"fRoM"):
        changed = fields[1].replace(b"h=From:From", b"h=%b:From" % name, 1)
        assert changed != fields[1]
        # What is hashed is the field, whose name has one form; only the signature's own text differs.
        assert verify(changed + b"".join(fields[2:]) + b"\n" + body)[0].reason == b"signature did not verify"
    lower = dkim.DKIM(MESSAGE.replace(b"\n", b"\r\n"))
    pem = KEYS[b"r"].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    field = lower.sign(b"r", b"a.test", pem, include_headers=[b"fRoM", b"FROM", b"sUbJect", b"to"])
    assert results(field.replace(b"\r\n", b"\n") + MESSAGE) == [b"pass"]
    assert results(field.replace(b"\r\n", b"\n") + b"from: second@a.test\n" + MESSAGE) == [b"fail"]


def signature(text: bytes) -> bytes:
    return b"DKIM-Signature: " + text + b"\n" + MESSAGE


BASE = b"v=1; a=rsa-sha256; d=a.test; s=r; h=from; bh=AAAA; b=AAAA"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BASE.replace(b"v=1", b"v=2"), "signature of another version"),
        (BASE.replace(b"rsa-sha256", b"rsa-sha1"), "rsa-sha1 is not accepted"),
        (BASE.replace(b"rsa-sha256", b"rot13"), "unknown algorithm"),
        (BASE.replace(b"h=from", b"h=to:subject"), "From is not signed"),
        (BASE.replace(b"; s=r", b""), "signature without s="),
        (BASE + b"; d=b.test", "signature syntax error"),
        (BASE + b"; i=joe@b.test", "i= is outside of d="),
        (BASE + b"; i=joe@xa.test", "i= is outside of d="),
        (BASE + b"; c=nofws", "unknown canonical form"),
        (BASE + b"; q=finger", "unknown way to the key"),
        (BASE + b"; x=100", "signature expired"),
        (BASE + b"; t=2000; x=100", "signature expired before it was made"),
        (BASE + b"; t=%d" % (NOW + 9999), "signature from the future"),
        (BASE + b"; t=soon", "no time in t= or x="),
        (BASE.replace(b"b=AAAA", b"b=A*AA"), "signature not in base64"),
        (BASE.replace(b"h=from", b"h=from" + b":a" * 300), "too many names in h="),
        (BASE + b"; z=" + b"a" * 20000, "signature too long"),
    ],
)
def test_signatures_that_cannot_be_verified_say_why(text: bytes, why: str) -> None:
    found = verify(signature(text), silent)[0]
    assert (found.result, found.reason.decode()) == (b"permerror", why)


def short_key(bits: int) -> bytes:
    if bits < 1024:
        # The library makes no such keys; this one was made once, of 512 bits.
        return (
            b"p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBALrT6BEGPSjPwYXxJVE+OoLNn0YhtJ7v83nm7GKmaI1A8PMDG+NRj5jeXmQqrgHX7VwEGp0iBO1"
            b"oiEJIw+6xzs8CAwEAAQ=="
        )
    return public_record(rsa.generate_private_key(65537, bits))


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (b"v=DKIM1; p=", "key revoked"),
        (b"v=DKIM2; p=AAAA", "key of another version"),
        (b"p=AAAA; v=DKIM1", "key of another version"),
        (b"v=DKIM1; k=rsa", "no key in the record"),
        (b"v=DKIM1; p=AAAA", "key unreadable"),
        (b"v=DKIM1; p=A*", "key unreadable"),
        (b"v=DKIM1; k=dsa; p=AAAA", "key of an unknown kind"),
        (b"v=DKIM1; h=sha1; p=AAAA", "key not for sha256"),
        (b"v=DKIM1; s=tlsrpt; p=AAAA", "key not for mail"),
        (b"v=DKIM1; p=AA; p=BB", "key syntax error"),
        (b"omgwhatsgoingon", "key syntax error"),
        (b"v=DKIM1; p=" + b"A" * 9000, "key record too long"),
        (short_key(512), "key of 512 bits too short"),
    ],
)
def test_key_records_that_cannot_be_used_say_why(record: bytes, why: str) -> None:
    found = verify(signed(MESSAGE), texts(published() | {b"r._domainkey.a.test": record}))[0]
    assert (found.result, found.reason.decode()) == (b"permerror", why)


def test_a_missing_key_is_permanent_and_silence_temporary() -> None:
    assert [it.result for it in verify(signed(MESSAGE), texts({}))] == [b"permerror"] * 2
    assert [it.result for it in verify(signed(MESSAGE), silent)] == [b"temperror"] * 2


def test_a_key_of_the_other_algorithm_is_no_key() -> None:
    assert results(signed(MESSAGE), r=public_record(KEYS[b"e"]))[0] == b"permerror"


def test_the_first_usable_record_of_a_name_counts() -> None:
    key = public_record(KEYS[b"r"])
    found = verify(signed(MESSAGE), texts({b"r._domainkey.a.test": (b"spam", key)}))
    assert found[0].result == b"pass"


def test_keys_with_old_tags_flags_and_pkcs1_are_read() -> None:
    key = KEYS[b"r"].public_key()
    raw = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    record = parse_key(b"v=DKIM1; g=*; t=y:s; n=notes here; p=" + base64.b64encode(raw))
    assert (record.bits, record.is_testing, record.is_strict) == (2048, True, True)


def test_a_strict_key_is_for_its_own_domain_only() -> None:
    record = public_record(KEYS[b"r"]) + b"; t=s"
    wire = MESSAGE.replace(b"\n", b"\r\n")
    pem = KEYS[b"r"].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    for identity, result in ((b"joe@a.test", b"pass"), (b"joe@sub.a.test", b"permerror")):
        field = dkim.sign(wire, b"r", b"a.test", pem, identity=identity)
        assert results((field + wire).replace(b"\r\n", b"\n"), r=record) == [result]


def test_a_message_without_a_signature_asks_nothing() -> None:
    asked: list[object] = []
    assert verify(MESSAGE, lambda question: asked.append(question) or DnsAnswer()) == []  # type: ignore[func-returns-value]
    assert asked == []


def test_at_most_eight_signatures_are_verified() -> None:
    message = signed(MESSAGE)
    many = b"".join(split(message)[0][:2]) * 20 + MESSAGE
    found = verify(many)
    assert len(found) == MAX_SIGNATURES
    assert {it.result for it in found} == {b"pass"}


def test_a_field_of_a_megabyte_is_parsed() -> None:
    message = signed(b"X-Long: " + b"a" * (1 << 20) + b"\n" + MESSAGE)
    assert results(message) == [b"pass", b"pass"]
    assert results(signature(BASE + b"; z=" + b"a" * (1 << 20))) == [b"permerror"]


@given(st.binary(max_size=300))
def test_any_bytes_as_signature_give_a_result(text: bytes) -> None:
    line = text.replace(b"\n", b" ")
    assert all(it.result != b"pass" for it in verify(signature(line)))


@given(st.binary(max_size=200))
def test_any_bytes_as_key_are_refused(text: bytes) -> None:
    with pytest.raises(InvalidKey):
        parse_key(text)


def test_private_keys_come_back_from_pem_and_others_are_refused() -> None:
    for key in KEYS.values():
        assert public_record(load_private_key(private_pem(key))) == public_record(key)
    for text in (b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(InvalidKey):
            load_private_key(text)


def test_folded_signatures_stay_within_the_width_of_lines() -> None:
    for field in split(signed(MESSAGE))[0][:2]:
        assert max(map(len, field.split(b"\n"))) <= 78
        assert b"l=" not in field.replace(b"ml=", b"")
        assert b"; t=%d;" % SIGNED in field
    assert {SIMPLE, RELAXED} == set(FORMS)
