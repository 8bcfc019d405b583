"""Which TLSA records are looked for, and which count."""

import pytest

from eqmail_core.dns.mx import MxCandidate
from eqmail_core.dns.query import NO_ANSWER, NO_SUCH_NAME, NOTHING, DnsAnswer, DnsQuestion
from eqmail_core.dns.tlsa import tlsa_set
from eqmail_core.dns.validation import TRUST_LOOPBACK, TRUST_NONE, trust_of

RECORD = (3, 1, 1, b"x" * 32)
GOOD = DnsAnswer(tlsa=(RECORD,), is_authentic=True)
UNSIGNED = DnsAnswer(tlsa=(RECORD,))
ALIAS = DnsAnswer(names=((0, b"mx.far.test"),), is_authentic=True)
MX, FAR, CNAME = ("TLSA", b"_25._tcp.mx.test"), ("TLSA", b"_25._tcp.mx.far.test"), ("CNAME", b"mx.test")
Answers = dict[DnsQuestion, DnsAnswer]


def found(is_authentic: bool, canonical: bytes, answers: Answers) -> tuple[bytes, int, bool, list[DnsQuestion]]:
    asked: list[DnsQuestion] = []
    search = tlsa_set(MxCandidate("192.0.2.1", 0, b"MX.test", False, is_authentic, canonical), 25)
    try:
        questions = next(search)
        while True:
            asked += questions
            questions = search.send([answers[it] for it in questions])
    except StopIteration as end:
        return end.value.base, len(end.value.records), end.value.is_unknown, asked


@pytest.mark.parametrize(
    ("is_authentic", "canonical", "answers", "expected"),
    [
        (False, b"", {}, (b"", 0, False, [])),
        (True, b"", {MX: GOOD}, (b"mx.test", 1, False, [MX])),
        (True, b"", {MX: UNSIGNED}, (b"", 0, False, [MX])),
        (True, b"", {MX: NOTHING}, (b"", 0, False, [MX])),
        (True, b"", {MX: NO_SUCH_NAME}, (b"", 0, False, [MX])),
        (True, b"", {MX: NO_ANSWER}, (b"mx.test", 0, True, [MX])),
        # An alias all of whose steps are proved: the name at its end, then its own.
        (True, b"mx.far.test", {FAR: GOOD}, (b"mx.far.test", 1, False, [FAR])),
        (True, b"mx.far.test", {FAR: NOTHING, MX: GOOD}, (b"mx.test", 1, False, [FAR, MX])),
        (True, b"mx.far.test", {FAR: NO_ANSWER}, (b"mx.far.test", 0, True, [FAR])),
        # An alias that is proved and leads where nothing is.
        (False, b"mx.far.test", {CNAME: ALIAS, MX: GOOD}, (b"mx.test", 1, False, [CNAME, MX])),
        (False, b"mx.far.test", {CNAME: DnsAnswer(names=ALIAS.names)}, (b"", 0, False, [CNAME])),
        (False, b"mx.far.test", {CNAME: NO_ANSWER}, (b"mx.test", 0, True, [CNAME])),
    ],
)
def test_tlsa_records_count_where_each_step_to_them_is_proved(
    is_authentic: bool, canonical: bytes, answers: Answers, expected: tuple[bytes, int, bool, list[DnsQuestion]]
) -> None:
    assert found(is_authentic, canonical, answers) == expected


def test_validation_is_trusted_on_loopback_or_by_name() -> None:
    assert trust_of(None) == TRUST_LOOPBACK
    assert trust_of([b"off"]) == trust_of([]) == TRUST_NONE
    named = trust_of([b"192.0.2.53", b"2001:DB8::53"])
    servers = ["127.0.0.1", "127.0.0.53", "::1", "192.0.2.53", "2001:db8::53", "192.0.2.5", ""]
    assert [it for it in servers if TRUST_LOOPBACK.covers(it)] == servers[:3]
    assert [it for it in servers if named.covers(it)] == servers[3:5]
    assert [it for it in servers if TRUST_NONE.covers(it)] == []
    assert trust_of([b"loopback", b"192.0.2.53"]).covers("::1")
