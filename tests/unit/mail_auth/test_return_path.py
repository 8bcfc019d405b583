"""Senders of forwards are rewritten and come back; senders of this host are signed; everything else stays."""

import pytest

from eqmail_core.mail_auth.origin import is_forwarded
from eqmail_core.mail_auth.return_path import InvalidReturnPath, ReturnPaths

NOW = 20000 * 86400
SECRETS = (b"new", b"old")


def paths(srs: tuple[bytes, ...] = SECRETS, batv: tuple[bytes, ...] = (), refuses: bool = False) -> ReturnPaths:
    return ReturnPaths(srs, batv, b"mx.test", lambda address: address.endswith(b"@ours.test"), lambda: NOW, refuses)


def test_the_sender_of_a_forward_is_rewritten_and_comes_back() -> None:
    made = paths().leaving(b"joe@a.test", lambda: True)
    assert made.startswith(b"SRS0=") and made.endswith(b"=AU=a.test=joe@mx.test".replace(b"AU", made.split(b"=")[2]))
    assert paths().returning(made, True) == b"joe@a.test"
    assert paths((b"newer", *SECRETS)).returning(made, True) == b"joe@a.test"


@pytest.mark.parametrize("sender", [b"", b"joe@ours.test", b"joe", b"#@[]"])
def test_null_and_own_senders_of_forwards_stay(sender: bytes) -> None:
    assert paths().leaving(sender, lambda: sender != b"#@[]") == sender


def test_what_is_no_forward_stays() -> None:
    assert paths().leaving(b"joe@a.test", lambda: False) == b"joe@a.test"
    long = b"j" * 250 + b"@a.test"
    assert paths().leaving(long, lambda: True) == long


def test_addresses_that_this_host_has_not_made_are_refused_and_those_of_others_stay() -> None:
    with pytest.raises(InvalidReturnPath, match="not made here"):
        paths().returning(b"SRS0=AAAA=AA=a.test=joe@MX.test", True)
    assert paths().returning(b"SRS0=AAAA=AA=a.test=joe@other.test", True) == b"SRS0=AAAA=AA=a.test=joe@other.test"


def test_own_senders_are_signed_and_bounces_to_unsigned_ones_can_be_refused() -> None:
    batv = paths((), SECRETS, refuses=True)
    made = batv.leaving(b"joe@ours.test", lambda: True)
    assert made.startswith(b"prvs=0") and made.endswith(b"=joe@ours.test")
    assert paths((), (b"newer", *SECRETS)).returning(made, True) == b"joe@ours.test"
    with pytest.raises(InvalidReturnPath, match="not signed"):
        batv.returning(b"joe@ours.test", True)
    with pytest.raises(InvalidReturnPath, match="not signed here"):
        batv.returning(made.replace(b"joe", b"jim"), True)
    assert batv.returning(b"joe@ours.test", False) == b"joe@ours.test"
    assert batv.returning(b"joe@a.test", True) == b"joe@a.test"
    assert batv.returning(b"prvs=0123abcdef=joe@a.test", True) == b"prvs=0123abcdef=joe@a.test"
    assert paths((), SECRETS).returning(b"joe@ours.test", True) == b"joe@ours.test"


OURS = b"Received: (qmail 1 invoked by uid 2); 1 Jan 2026 00:00:00 -0000\n"
CLIENT = b"Received: from a.test (192.0.2.1)\n  by mx.test with ESMTPS; 1 Jan 2026 00:00:00 -0000\n"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([OURS, b"Delivered-To: alias-joe@ours.test\n", OURS, CLIENT], True),
        ([OURS, CLIENT, b"Delivered-To: someone@elsewhere.test\n"], False),
        ([OURS, b"From: joe@a.test\n"], False),
        ([], False),
    ],
)
def test_a_forward_has_our_delivered_to_above_the_client(fields: list[bytes], expected: bool) -> None:
    assert is_forwarded(fields) == expected
