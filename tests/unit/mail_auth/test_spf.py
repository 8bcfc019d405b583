"""SPF gives what the test suite of RFC 7208 wants, and counts what must be counted."""

import warnings
from collections.abc import Mapping

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from eqmail_core.dns.query import AAAA, MX, NO_ANSWER, NO_SUCH_NAME, NOTHING, PTR, TXT, A, DnsAnswer, DnsQuestion
from eqmail_core.mail_auth.spf import SpfResult, check_sender
from eqmail_core.mail_auth.spf_record import InvalidSpfRecord, parse_spf
from tests.support.mail_auth_harness import NOW, run
from tests.support.requirements import lack
from tests.support.spf_suite import SpfCase, cases

with warnings.catch_warnings():
    # The library has escape sequences that Python warns of when it compiles them.
    warnings.simplefilter("ignore")
    import spf as pyspf


CASES = list(cases())


def test_the_suite_is_complete() -> None:
    if not CASES:
        lack("the Debian package python3-spf, for its copy of the SPF test suite")
    assert len(CASES) == 203


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_of_the_suite(case: SpfCase) -> None:
    found = run(check_sender(case.host, case.sender, case.helo, b"receiver.test", NOW), case.zone.ask)
    assert found.result.decode() in case.results
    if case.explanation is not None and found.result == b"fail":
        assert found.explanation == case.explanation


class Zone:
    """Records by type and name; `asked` has every question."""

    def __init__(self, records: Mapping[tuple[str, str], list[str]]) -> None:
        self.records = records
        self.asked: list[DnsQuestion] = []

    def ask(self, question: DnsQuestion) -> DnsAnswer:
        self.asked.append(question)
        kind, name = question[0], question[1].decode()
        values = self.records.get((kind, name))
        if values is None:
            return NOTHING if any(known == name for _, known in self.records) else NO_SUCH_NAME
        if values == ["silence"]:
            return NO_ANSWER
        if kind == TXT:
            return DnsAnswer(texts=tuple(value.encode() for value in values))
        if kind in (MX, PTR):
            return DnsAnswer(names=tuple((0, value.encode()) for value in values))
        return DnsAnswer(addresses=tuple(values))


def check(
    record: str, more: Mapping[tuple[str, str], list[str]] | None = None, ip: bytes = b"192.0.2.1"
) -> tuple[SpfResult, Zone]:
    zone = Zone({(TXT, "a.test"): [record], **(more or {})})
    return run(check_sender(ip, b"joe@a.test", b"h.test", b"me.test", NOW), zone.ask), zone


def test_exchangers_are_no_terms_of_their_own() -> None:
    """One mx with ten exchangers is one of the ten terms."""
    names = [f"m{number}.test" for number in range(10)]
    hosts = {(A, name): ["192.0.2.9"] for name in names} | {(MX, f"x{it}.test"): names for it in range(10)}
    record = "v=spf1 " + " ".join(f"mx:x{number}.test" for number in range(10))
    assert check(record + " -all", hosts)[0].result == b"fail"
    assert check(record + " a:m1.test -all", hosts)[0].result == b"permerror"


def test_ten_terms_are_allowed_and_eleven_are_not() -> None:
    hosts = {(A, f"h{number}.test"): ["192.0.2.9"] for number in range(11)}
    for count, result in ((10, b"fail"), (11, b"permerror")):
        record = "v=spf1 " + " ".join(f"a:h{number}.test" for number in range(count)) + " -all"
        assert check(record, hosts)[0].result == result


def test_the_record_itself_and_the_explanation_are_no_terms() -> None:
    hosts = {(A, f"h{number}.test"): ["192.0.2.9"] for number in range(10)} | {(TXT, "why.test"): ["because %{i}"]}
    record = "v=spf1 " + " ".join(f"a:h{number}.test" for number in range(10)) + " -all exp=why.test"
    found, _ = check(record, hosts)
    assert (found.result, found.explanation) == (b"fail", b"because 192.0.2.1")


@pytest.mark.parametrize(("ip", "kind"), [(b"192.0.2.1", A), (b"2001:db8::1", AAAA)])
def test_a_name_with_addresses_of_the_other_family_alone_is_one_empty_answer(ip: bytes, kind: str) -> None:
    """Only the client's family is asked for: two such names are allowed, three are not."""
    other, address = (AAAA, "2001:db8::2") if kind == A else (A, "192.0.2.2")
    hosts = {(other, f"h{number}.test"): [address] for number in range(3)}
    found, zone = check("v=spf1 a:h0.test a:h1.test -all", hosts, ip)
    assert found.result == b"fail"
    assert [question for question in zone.asked if question[0] != TXT] == [(kind, b"h0.test"), (kind, b"h1.test")]
    assert check("v=spf1 a:h0.test a:h1.test a:h2.test -all", hosts, ip)[0].result == b"permerror"


def test_exchangers_without_addresses_are_no_empty_answers() -> None:
    hosts = {(MX, "x.test"): ["m1.test", "m2.test", "m3.test"]}
    assert check("v=spf1 mx:x.test -all", hosts)[0].result == b"fail"


def test_a_record_is_read_once_where_a_redirect_leads() -> None:
    found, zone = check("v=spf1 redirect=b.test", {(TXT, "b.test"): ["v=spf1 ip4:192.0.2.0/24 -all"]})
    assert found.result == b"pass"
    assert [name for _, name in zone.asked] == [b"a.test", b"b.test"]


def test_includes_without_end_are_cut_off() -> None:
    found, zone = check("v=spf1 include:a.test -all")
    assert found.result == b"permerror"
    assert len(zone.asked) <= 12


def test_silence_is_temporary() -> None:
    assert check("v=spf1 a -all", {(A, "a.test"): ["silence"]})[0].result == b"temperror"
    assert run(check_sender(b"192.0.2.1", b"joe@a.test", b"h", b"me", NOW), lambda _: NO_ANSWER).result == b"temperror"


def test_the_null_sender_is_checked_by_the_name_in_helo() -> None:
    zone = Zone({(TXT, "h.test"): ["v=spf1 ip4:192.0.2.1 -all"]})
    found = run(check_sender(b"192.0.2.1", b"", b"h.test", b"me.test", NOW), zone.ask)
    assert (found.result, found.identity, found.domain) == (b"pass", b"helo", b"h.test")


def test_an_unknown_address_is_no_reason_to_ask() -> None:
    assert run(check_sender(b"", b"joe@a.test", b"h.test", b"me", NOW), Zone({}).ask).result == b"none"


def test_a_domain_beyond_ascii_is_asked_in_the_form_of_the_dns() -> None:
    zone = Zone({(TXT, "xn--mller-kva.test"): ["v=spf1 +all"]})
    found = run(check_sender(b"192.0.2.1", "joe@müller.test".encode(), b"h.test", b"me", NOW), zone.ask)
    assert found.result == b"pass"


TERMS = st.sampled_from(
    """all -all ~all ?all a mx ptr a:b.test mx:b.test include:b.test exists:%{i}.b.test ip4:192.0.2.0/24 ip4:192.0.2.1
    ip6:2001:db8::/32 a/24 a//64 a/24//64 mx/8 redirect=b.test exp=b.test x=%{d} ip4:1.2.3 a:/ include: a:%{z}.test
    a:%{d2r}.b.test a/33 ip4:192.0.2.1/32/ exists:%{l1r-}.b.test all:x foo exists:b.test. ptr:b.test""".split()
)


@given(st.lists(TERMS, max_size=6))
def test_pyspf_gives_the_same_result(terms: list[str]) -> None:
    # pyspf refuses unknown modifiers that come twice; only redirect and exp must not (RFC 7208 section 6).
    assume(terms.count("x=%{d}") < 2)
    record = " ".join(["v=spf1", *terms])
    records = {
        (TXT, "a.test"): [record],
        (TXT, "b.test"): ["v=spf1 ip4:198.51.100.0/24 ?all"],
        (A, "a.test"): ["192.0.2.77"],
        (A, "b.test"): ["203.0.113.1"],
        (MX, "a.test"): ["b.test"],
        (MX, "b.test"): ["b.test"],
        (A, "test.a.b.test"): ["192.0.2.1"],
        (A, "joe.b.test"): ["192.0.2.2"],
    }
    found = check(record, records)[0]

    def lookup(name: str, kind: str, strict: bool = True, timeout: float = 20) -> list[tuple[tuple[str, str], object]]:
        values = records.get((kind, name.rstrip(".").lower()), [])
        if kind == MX:
            return [((name, kind), (0, value)) for value in values]
        return [((name, kind), value if kind != TXT else (value.encode(),)) for value in values]

    pyspf.DNSLookup = lookup
    query = pyspf.query("192.0.2.1", "joe@a.test", "h.test", strict=True, timeout=20)
    assert found.result.decode() == query.check()[0]


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80))
def test_any_record_is_read_or_refused(text: str) -> None:
    try:
        parse_spf(b"v=spf1 " + text.encode())
    except InvalidSpfRecord:
        pass
    check("v=spf1 " + text)
