"""DMARC: the organization found by the tree walk, the policy that applies, and alignment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.dns.query import NO_ANSWER, NO_SUCH_NAME, NOTHING, TXT, DnsAnswer, DnsQuestion
from eqmail_core.mail_auth.authors import author_domains
from eqmail_core.mail_auth.dmarc import MAX_WALK, DmarcCheck, DmarcResult, Identifier, walk
from eqmail_core.mail_auth.dmarc_record import parse_dmarc
from tests.support.mail_auth_harness import run

# A zone for tree walks: a declared public suffix (bank.test), an organization below one (giant.bank.test),
# a declared organization (mail.deep.test), a plain one, one in test mode, ones with errors or two records.
ZONE = {
    "bank.test": ["v=DMARC1; p=reject; psd=y; rua=mailto:r@bank.test"],
    "mega.bank.test": ["v=DMARC1; p=none"],
    "deep.test": ["v=DMARC1; p=reject"],
    "mail.deep.test": ["v=DMARC1; p=quarantine; psd=n"],
    "plain.test": ["v=DMARC1; p=reject; sp=quarantine; np=none"],
    "nosp.test": ["v=DMARC1; p=reject"],
    "npreject.test": ["v=DMARC1; p=none; sp=none; np=reject"],
    "spnone.test": ["v=DMARC1; p=reject; sp=none"],
    "testing.test": ["v=DMARC1; p=reject; sp=quarantine; t=y"],
    "wrong.test": ["v=DMARC1; p=reject; sp=bogus; rua=mailto:r@wrong.test"],
    "wrongmute.test": ["v=DMARC1; p=reject; sp=bogus"],
    "nop.test": ["v=DMARC1; rua=mailto:r@nop.test"],
    "two.test": ["v=DMARC1; p=reject", "v=DMARC1; p=none"],
    "noise.test": ["v=spf1 -all", "v=DMARC1; p=reject"],
    "strict.test": ["v=DMARC1; p=reject; adkim=s; aspf=s"],
}
EXISTING = {"txt-only.plain.test", "real.plain.test", "real.npreject.test"}


class Zone:
    def __init__(self) -> None:
        self.asked: list[DnsQuestion] = []

    def ask(self, question: DnsQuestion) -> DnsAnswer:
        self.asked.append(question)
        kind, name = question[0], question[1].decode()
        if name.endswith("silent.test"):
            return NO_ANSWER
        if kind == TXT and name.startswith("_dmarc."):
            return DnsAnswer(texts=tuple(text.encode() for text in ZONE.get(name[7:], [])))
        return NOTHING if name in EXISTING or name in ZONE else NO_SUCH_NAME


def check(author: str, *passing: str, dkim: bool = True, result: bytes = b"pass") -> DmarcResult:
    identifiers = [Identifier(domain.encode(), result, dkim) for domain in passing]
    return run(DmarcCheck().check([author.encode()], identifiers), Zone().ask)


@pytest.mark.parametrize(
    ("domain", "organization"),
    [
        ("plain.test", "plain.test"),
        ("a.b.plain.test", "plain.test"),
        ("unknown.test", "unknown.test"),
        ("a.unknown.test", "a.unknown.test"),
        ("giant.bank.test", "giant.bank.test"),
        ("news.giant.bank.test", "giant.bank.test"),
        ("a.b.c.mega.bank.test", "mega.bank.test"),
        ("bank.test", "bank.test"),
        ("x.mail.deep.test", "mail.deep.test"),
        ("mail.deep.test", "mail.deep.test"),
        ("other.deep.test", "deep.test"),
        ("1.2.3.4.5.6.7.8.9.plain.test", "plain.test"),
    ],
)
def test_the_walk_finds_the_organization(domain: str, organization: str) -> None:
    assert run(DmarcCheck().organization(domain.encode()), Zone().ask).decode() == organization


@pytest.mark.parametrize(
    ("author", "policy", "record_at"),
    [
        ("plain.test", b"reject", "plain.test"),
        ("real.plain.test", b"quarantine", "plain.test"),
        ("txt-only.plain.test", b"quarantine", "plain.test"),
        ("gone.plain.test", b"none", "plain.test"),
        ("gone.nosp.test", b"reject", "nosp.test"),
        ("gone.spnone.test", b"none", "spnone.test"),
        ("gone.npreject.test", b"reject", "npreject.test"),
        ("real.npreject.test", b"none", "npreject.test"),
        ("testing.test", b"quarantine", "testing.test"),
        ("a.testing.test", b"none", "testing.test"),
        ("wrong.test", b"none", "wrong.test"),
        ("nop.test", b"none", "nop.test"),
        ("noise.test", b"reject", "noise.test"),
        ("giant.bank.test", b"reject", "bank.test"),
        ("news.giant.bank.test", b"reject", "bank.test"),
        ("mega.bank.test", b"none", "mega.bank.test"),
        ("x.mail.deep.test", b"quarantine", "mail.deep.test"),
    ],
)
def test_the_policy_that_applies(author: str, policy: bytes, record_at: str) -> None:
    found = check(author)
    assert (found.result, found.policy, found.record_domain.decode()) == (b"fail", policy, record_at)


@pytest.mark.parametrize("author", ["unknown.test", "two.test", "wrongmute.test", "a.two.test"])
def test_domains_without_a_policy(author: str) -> None:
    found = check(author)
    assert (found.result, found.policy) == (b"none", b"none")


@pytest.mark.parametrize(
    ("author", "passing", "result"),
    [
        ("plain.test", "plain.test", b"pass"),
        ("a.plain.test", "b.plain.test", b"pass"),
        ("plain.test", "a.b.c.plain.test", b"pass"),
        ("plain.test", "notplain.test", b"fail"),
        ("plain.test", "evil.test", b"fail"),
        ("giant.bank.test", "mega.bank.test", b"fail"),
        ("giant.bank.test", "bank.test", b"fail"),
        ("news.giant.bank.test", "giant.bank.test", b"pass"),
        ("deep.test", "mail.deep.test", b"fail"),
        ("strict.test", "strict.test", b"pass"),
        ("strict.test", "a.strict.test", b"fail"),
        ("plain.test", "PLAIN.test", b"pass"),
    ],
)
@pytest.mark.parametrize("dkim", [True, False])
def test_alignment(author: str, passing: str, result: bytes, dkim: bool) -> None:
    assert check(author, passing, dkim=dkim).result == result


def test_only_a_pass_counts_and_an_aligned_error_is_temporary() -> None:
    assert check("plain.test", "plain.test", result=b"softfail").result == b"fail"
    assert check("plain.test", "plain.test", result=b"temperror").result == b"temperror"
    assert check("plain.test", "evil.test", result=b"temperror").result == b"fail"


def test_silence_is_temporary() -> None:
    assert check("silent.test").result == b"temperror"


def test_a_walk_asks_eight_questions_at_most_and_each_once() -> None:
    zone = Zone()
    name = b".".join(b"%d" % number for number in range(20)) + b".plain.test"
    run(DmarcCheck().check([name], [Identifier(b"plain.test", b"pass", True)]), zone.ask)
    asked = [question for question in zone.asked if question[0] == TXT]
    assert len(asked) == len(set(asked)) == MAX_WALK
    assert walk(name)[1] == b"15.16.17.18.19.plain.test"


def test_of_several_authors_the_worst_result_counts() -> None:
    identifiers = [Identifier(b"unknown.test", b"pass", True), Identifier(b"testing.test", b"pass", True)]
    found = run(DmarcCheck().check([b"testing.test", b"plain.test"], identifiers), Zone().ask)
    assert (found.result, found.domain, found.policy) == (b"fail", b"plain.test", b"reject")
    assert run(DmarcCheck().check([], []), Zone().ask).result == b"permerror"
    assert run(DmarcCheck().check([b"a%d.test" % it for it in range(5)], []), Zone().ask).result == b"permerror"


def test_a_list_of_public_suffixes_replaces_the_walk() -> None:
    zone = Zone()
    check = DmarcCheck(lambda domain: b".".join(domain.split(b".")[-2:]))
    found = run(check.check([b"a.b.plain.test"], [Identifier(b"c.plain.test", b"pass", False)]), zone.ask)
    assert (found.result, found.record_domain) == (b"pass", b"plain.test")
    assert (TXT, b"_dmarc.b.plain.test") not in zone.asked


@pytest.mark.parametrize(
    "text", [b"", b"v=DMARC1p=none", b"p=none; v=DMARC1", b"v=dmarc1; p=none", b"v=DMARC2; p=none"]
)
def test_what_is_no_record(text: bytes) -> None:
    assert parse_dmarc(text) is None


@given(st.binary(max_size=200))
def test_any_text_is_a_record_or_none(text: bytes) -> None:
    parse_dmarc(text)
    record = parse_dmarc(b"v=DMARC1;" + text)
    assert record is not None and record.policy in (b"none", b"quarantine", b"reject")


@pytest.mark.parametrize(
    ("header", "domains"),
    [
        (b"From: Joe <joe@A.test>\n", [b"a.test"]),
        (b"From: a@a.test, b@b.test (x@c.test)\n", [b"a.test", b"b.test"]),
        (b"From: a@a.test\nFROM : b@b.test\n", [b"a.test", b"b.test"]),
        (b'From: "boss@bank.test" <x@evil.test>\n', [b"evil.test"]),
        (b"From: Team: a@a.test, b@b.test;\n", [b"a.test", b"b.test"]),
        (b"From: boss@bank.test (\n", [b"bank.test"]),
        (b"From: <boss@bank.test\n", [b"bank.test"]),
        ("From: j@müller.test\n".encode(), [b"xn--mller-kva.test"]),
        (b"From: nobody\n", []),
        (b"To: a@a.test\n", []),
    ],
)
def test_the_domains_of_the_authors(header: bytes, domains: list[bytes]) -> None:
    fields = [line + b"\n" for line in header.split(b"\n")[:-1]]
    assert author_domains(fields) == domains


@given(st.binary(max_size=100))
def test_any_from_field_has_domains_or_none(text: bytes) -> None:
    for domain in author_domains([b"From: " + text + b"\n"]):
        assert domain and b" " not in domain
