"""Every combination of what the DNS, MTA-STS, the sender and the administrator say about a server."""

from itertools import product

import pytest

from eqmail_core.dns.tlsa import NO_TLSA, TlsaSet
from eqmail_core.tls.client_policy import IF_OFFERED, PLAIN, TlsPolicy
from eqmail_core.tls.mta_sts import ENFORCE, NONE, TESTING, StsPolicy
from eqmail_core.tls.policy import TlsInputs, UnusableServer, decide

LISTED = {"authentic": True, "unsigned": False}
GOOD = (3, 1, 1, b"x" * 32)
TLSA = {
    "none": NO_TLSA,
    "good": TlsaSet(b"mx.test", (GOOD,)),
    "unusable": TlsaSet(b"mx.test", ((1, 1, 1, b"x" * 32), (3, 1, 1, b"short"))),
    "unknown": TlsaSet(b"mx.test", is_unknown=True),
}
MODES = {"none": NONE, "testing": TESTING, "enforce": ENFORCE}
STS = {
    "absent": None,
    "none": StsPolicy(NONE, (), 1),
    "testing": StsPolicy(TESTING, (b"mx.test",), 1),
    "enforce": StsPolicy(ENFORCE, (b"*.test",), 1),
    "testing-wrong": StsPolicy(TESTING, (b"other.test",), 1),
    "enforce-wrong": StsPolicy(ENFORCE, (b"other.test",), 1),
}
SENDER = ("", "requires", "relaxes")
FILES = {"": IF_OFFERED, "authorities": TlsPolicy(True, b"control/tlshosts/mx.test.pem"), "plain": PLAIN}
ALL = list(product(LISTED, TLSA, STS, SENDER, FILES))


def outcome(listed: str, tlsa: str, sts: str, sender: str, files: str) -> str:
    """Level, with +roots where an authority of the system must vouch; or never or later for an unusable server."""
    inputs = TlsInputs(
        b"one.test",
        b"MX.test",
        FILES[files],
        LISTED[listed],
        TLSA[tlsa],
        STS[sts],
        sender == "requires",
        sender == "relaxes",
    )
    decision = decide(inputs)
    if isinstance(decision, UnusableServer):
        assert decision.reason
        return "never" if decision.is_permanent else "later"
    assert decision.may_be_plain == (decision.level in (b"plain", b"opportunistic"))
    return decision.level.decode() + ("+roots" if decision.has_public_roots else "")


# The rows by TLSA records, the columns by MTA-STS: absent, none, testing, enforce, testing-wrong, enforce-wrong.
USUAL = {
    ("authentic", "none"): "opportunistic opportunistic opportunistic sts+roots opportunistic later",
    ("authentic", "good"): "dane dane dane dane dane dane",
    ("authentic", "unusable"): "encrypted encrypted encrypted sts+roots encrypted later",
    ("authentic", "unknown"): "later later later later later later",
    ("unsigned", "none"): "opportunistic opportunistic opportunistic sts+roots opportunistic later",
    ("unsigned", "good"): "dane dane dane dane+roots dane later",
    ("unsigned", "unusable"): "encrypted encrypted encrypted sts+roots encrypted later",
    ("unsigned", "unknown"): "later later later later later later",
}
REQUIRETLS = {
    ("authentic", "none"): "verified+roots verified+roots verified+roots sts+roots verified+roots later",
    ("authentic", "good"): "dane dane dane dane dane dane",
    ("authentic", "unusable"): "verified+roots verified+roots verified+roots sts+roots verified+roots later",
    ("authentic", "unknown"): "later later later later later later",
    ("unsigned", "none"): "never never verified+roots sts+roots never later",
    ("unsigned", "good"): "never never dane dane+roots never later",
    ("unsigned", "unusable"): "never never verified+roots sts+roots never later",
    ("unsigned", "unknown"): "later later later later later later",
}


@pytest.mark.parametrize(("listed", "tlsa"), USUAL)
def test_without_words_of_the_sender_dane_comes_before_mta_sts(listed: str, tlsa: str) -> None:
    assert " ".join(outcome(listed, tlsa, sts, "", "") for sts in STS) == USUAL[listed, tlsa]


@pytest.mark.parametrize(("listed", "tlsa"), REQUIRETLS)
@pytest.mark.parametrize("files", ["", "plain"])
def test_requiretls_needs_a_proved_exchanger_and_a_verified_certificate(listed: str, tlsa: str, files: str) -> None:
    assert " ".join(outcome(listed, tlsa, sts, "requires", files) for sts in STS) == REQUIRETLS[listed, tlsa]


@pytest.mark.parametrize(("listed", "tlsa", "sts", "sender"), list(product(LISTED, TLSA, STS, SENDER)))
def test_the_administrator_comes_first(listed: str, tlsa: str, sts: str, sender: str) -> None:
    assert outcome(listed, tlsa, sts, sender, "authorities") == "authorities"
    if sender != "requires":
        assert outcome(listed, tlsa, sts, sender, "plain") == "plain"


@pytest.mark.parametrize(("listed", "tlsa", "sts"), list(product(LISTED, TLSA, STS)))
def test_a_sender_may_ask_to_ignore_what_the_domain_demands(listed: str, tlsa: str, sts: str) -> None:
    assert outcome(listed, tlsa, sts, "relaxes", "") == "opportunistic"


def test_the_reason_names_where_it_comes_from() -> None:
    def why(listed: bool, tlsa: TlsaSet, sts: StsPolicy | None, requires: bool = False) -> tuple[bytes, bytes]:
        decision = decide(TlsInputs(b"one.test", b"mx.test", IF_OFFERED, listed, tlsa, sts, requires))
        return (b"", decision.reason) if isinstance(decision, UnusableServer) else (decision.level, decision.why)

    assert why(True, TLSA["good"], None) == (b"dane", b"TLSA records of mx.test")
    assert why(True, TLSA["unusable"], None) == (b"encrypted", b"TLSA records of mx.test, none usable")
    assert why(True, NO_TLSA, STS["enforce"]) == (b"sts", b"MTA-STS policy of one.test")
    assert why(False, TLSA["good"], STS["enforce"])[1] == b"TLSA records of mx.test and MTA-STS policy of one.test"
    assert why(False, NO_TLSA, STS["testing"]) == (b"opportunistic", b"MTA-STS policy of one.test in mode testing")
    assert why(False, NO_TLSA, None) == (b"opportunistic", b"")
    assert why(True, NO_TLSA, None, True) == (b"verified", b"REQUIRETLS of the sender")
    assert why(False, NO_TLSA, STS["enforce-wrong"]) == (b"", b"the MTA-STS policy of one.test does not name it")
    assert b"proves that it serves one.test" in why(False, NO_TLSA, None, True)[1]


def test_names_that_a_certificate_of_an_authority_may_have() -> None:
    alias = TlsaSet(b"real.test", (GOOD,))
    for is_listed, names in ((True, (b"real.test", b"mx.test", b"one.test")), (False, (b"real.test", b"mx.test"))):
        decision = decide(TlsInputs(b"one.test", b"MX.test.", IF_OFFERED, is_listed, alias))
        assert isinstance(decision, TlsPolicy)
        assert decision.names == names


def test_sessions_stand_for_each_other_with_the_same_demands_alone() -> None:
    one, other = (
        TlsPolicy(True, level=b"dane", tlsa=((3, 1, 1, it * 32),), names=(b"mx.test",)) for it in (b"x", b"y")
    )
    keys = {policy.key(b"mx.test") for policy in (one, other, IF_OFFERED, PLAIN, FILES["authorities"])}
    assert len(keys) == 5
    assert one.key(b"mx.test") != one.key(b"b.test")
    assert IF_OFFERED.key(b"mx.test") == IF_OFFERED.key(b"b.test")
