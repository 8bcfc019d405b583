"""ARC: a chain that another implementation sealed holds, and no broken one does.

`python -m tests.support.arc_suite` runs the suite of others, which is not part of this repository.
"""

import re

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.mail_auth.arc import MAX_VERIFIED
from tests.support.mail_auth_harness import KEYS, arc_result, published, silent, texts

MESSAGE = b"From: joe@a.test\nTo: list@b.test\nSubject: hello\n\nbody\n"
RESULTS = b"Authentication-Results: b.test; spf=pass smtp.mailfrom=joe@a.test; dmarc=pass header.from=a.test\n"
PEM = KEYS[b"r"].private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
)


def sealed(message: bytes, times: int = 1) -> bytes:
    for number in range(times):
        # The sealer believes its own results of the chain so far.
        state = b"arc=%b; " % (b"pass" if number else b"none")
        text = RESULTS.replace(b"b.test; ", b"b.test; " + state) + message
        fields = dkim.arc_sign(text.replace(b"\n", b"\r\n"), b"r", b"a.test", PEM, b"b.test")
        message = b"".join(fields).replace(b"\r\n", b"\n") + message
    return message


def result(message: bytes) -> bytes:
    return arc_result(message, texts(published())).result


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_chain_of_another_implementation_holds(count: int) -> None:
    found = arc_result(sealed(MESSAGE, count), texts(published()))
    assert (found.result, found.sealers) == (b"pass", [b"a.test"] * count)
    assert b"dmarc=pass" in found.results


def test_a_message_without_a_chain_has_none() -> None:
    assert result(MESSAGE) == b"none"


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (rb"\nbody", b"\nbodies"),
        (rb"Subject: hello", b"Subject: help"),
        (rb"dmarc=pass", b"dmarc=fail"),
        (rb"cv=none", b"cv=pass"),
        (rb"cv=none", b"cv=fail"),
        (rb"ARC-Seal: i=1", b"ARC-Seal: i=2"),
        (rb"ARC-Seal: i=1", b"ARC-Seal: i=0"),
        (rb"ARC-Seal: i=1", b"ARC-Seal: h=from; i=1"),
        (rb"ARC-Message-Signature:", b"ARC-Message-Signature: l=5;"),
        (rb"ARC-Message-Signature:", b"X:"),
        (rb"ARC-Authentication-Results: i=1;", b"ARC-Authentication-Results:"),
        (rb"a=rsa-sha256", b"a=rsa-sha1"),
    ],
)
def test_a_broken_chain_fails(pattern: bytes, replacement: bytes) -> None:
    message = sealed(MESSAGE)
    broken = re.sub(pattern, replacement, message, count=1)
    assert broken != message
    assert result(broken) == b"fail"


def test_a_field_of_an_instance_that_comes_twice_fails() -> None:
    message = sealed(MESSAGE)
    assert result(b"ARC-Authentication-Results: i=1; evil.test; dmarc=pass\n" + message) == b"fail"


def test_an_older_seal_counts_as_much_as_the_newest() -> None:
    message = sealed(MESSAGE, 2)
    seals = [found.start() for found in re.finditer(rb"ARC-Seal:", message)]
    at = message.index(b"b=", seals[1] + 20) + 10
    changed = message[:at] + (b"A" if message[at : at + 1] != b"A" else b"B") + message[at + 1 :]
    assert result(changed) == b"fail"


def test_silence_is_temporary() -> None:
    assert arc_result(sealed(MESSAGE), silent).result == b"temperror"


def test_a_chain_longer_than_is_verified_fails() -> None:
    assert result(sealed(MESSAGE, MAX_VERIFIED)) == b"pass"
    assert result(sealed(MESSAGE, MAX_VERIFIED + 1)) == b"fail"


@given(st.lists(st.sampled_from([b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results"])), st.binary())
def test_any_fields_have_a_result(names: list[bytes], text: bytes) -> None:
    header = b"".join(b"%b: i=1; %b\n" % (name, text.replace(b"\n", b"")) for name in names)
    assert result(header + MESSAGE) in (b"none", b"fail")
