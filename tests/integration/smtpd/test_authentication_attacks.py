"""Messages and name servers that want to cost time or memory: the check ends within its bounds, and the log says so."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from eqmail_core.dns.query import DnsAnswer, DnsQuestion
from eqmail_core.dns.search import MAX_NAMES, run_search, run_search_blocking
from eqmail_core.mail_auth.dkim_key import RSA_BITS, InvalidKey, parse_key
from eqmail_core.mail_auth.dkim_verify import MAX_SIGNATURES
from eqmail_core.smtpd.policy.requests import SEARCH_S
from tests.integration.smtpd.test_mail_authentication import MESSAGE, ZONE, conversation, home_with, results, send
from tests.support.filtered_servers import KINDS
from tests.support.mail_auth_harness import run, signed, split
from tests.support.name_server import NameServer

# e and n of a key are all that a verifier needs, and a modulus of 16384 bits takes minutes to make.
LONG_MODULUS = (1 << 16383) + 12345


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    from eqmail_core.dns import resolver

    with NameServer(dict(ZONE)) as running:
        blocking = resolver.BlockingResolver
        monkeypatch.setattr(
            resolver, "BlockingResolver", lambda timeout_s: blocking(["127.0.0.1"], running.port, timeout_s)
        )
        yield running


def key_record(modulus: int) -> bytes:
    import base64

    public = rsa.RSAPublicNumbers(65537, modulus).public_key()
    return b"v=DKIM1; p=" + base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def as_zone(text: bytes) -> list[str]:
    return [" ".join(f'"{text[at : at + 200].decode()}"' for at in range(0, len(text), 200))]


def test_a_key_of_16_kbit_is_refused_before_it_is_used() -> None:
    assert RSA_BITS[1] < LONG_MODULUS.bit_length() == 16384
    with pytest.raises(InvalidKey, match="long"):
        parse_key(key_record(LONG_MODULUS))


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_with_such_a_key_is_marked_and_logged(
    tmp_path: Path, names: NameServer, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    names.zone[("r._domainkey.a.test", "TXT")] = as_zone(key_record(LONG_MODULUS))
    with conversation(kind, home_with(tmp_path, "mark"), names) as client:
        assert send(client, signed(MESSAGE, now=int(time.time()))).startswith(b"250 ok ")
        ((_, text),) = client.queued()
    found = [(it.result, it.reason) for it in results(text) if it.method == b"dkim"]
    assert sorted(result for result, _ in found) == [b"pass", b"permerror"]
    assert "dkim=permerror (" in capfd.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("word", ["mark", "enforce"])
def test_a_header_of_more_than_a_megabyte_is_refused(tmp_path: Path, names: NameServer, kind: str, word: str) -> None:
    with conversation(kind, home_with(tmp_path, word), names) as client:
        assert send(client, b"X-Long: " + b"a" * (1 << 20) + b"\n" + MESSAGE).startswith(b"552 ")
        assert send(client, MESSAGE).startswith(b"250 ok ")


@pytest.mark.parametrize("kind", KINDS)
def test_garbage_instead_of_answers_is_no_answer(
    tmp_path: Path, names: NameServer, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    message = MESSAGE.replace(b"a.test", b"b.test")
    names.zone[("_dmarc.b.test", "TXT")] = ['"v=DMARC1; p=reject"']
    with conversation(kind, home_with(tmp_path, "enforce"), names) as client:
        answer = send(client, message, b"x@garbage.test")
        assert answer.startswith((b"550 ", b"451 "))
    assert "spf=temperror (" in capfd.readouterr().err


def test_records_that_name_each_other_end() -> None:
    """A name server that says something else for each name: SPF without end, DMARC of many, keys of a megabyte."""
    from eqmail_core.mail_auth.message_check import MessageCheck, MessageSource

    asked = 0

    def endless(question: DnsQuestion) -> DnsAnswer:
        nonlocal asked
        asked += 1
        text = b"v=spf1 include:%d.test include:%d.test redirect=%d.test" % (asked, asked + 1, asked + 2)
        return DnsAnswer(
            names=tuple((number, b"%d-%d.test" % (asked, number)) for number in range(1000)),
            addresses=tuple(f"192.0.2.{number}" for number in range(250)),
            texts=(text, b"v=DMARC1; p=none; psd=y", b"v=DMARC1; p=reject", b"x" * (1 << 20)),
        )

    fields, _ = split(signed(MESSAGE))
    check = MessageCheck(MessageSource(b"192.0.2.1", b"x.test", b"x@x.test", b"mx.test"), fields, int(time.time()))
    run(check.search(), endless)
    assert asked <= MAX_NAMES


def test_the_ninth_signature_asks_nothing() -> None:
    from eqmail_core.mail_auth.dkim_verify import DkimVerifier

    one = split(signed(MESSAGE))[0][0]
    many = [one.replace(b"s=r", b"s=r%d" % number) for number in range(40)]
    asked: list[DnsQuestion] = []

    def note(question: DnsQuestion) -> DnsAnswer:
        asked.append(question)
        return DnsAnswer()

    run(DkimVerifier([*many, *split(MESSAGE)[0]], int(time.time())).search(), note)
    assert len(set(asked)) == MAX_SIGNATURES


class Slow:
    """A resolver by whose answers the clock goes on, as `per_answer_s` says."""

    def __init__(self, per_answer_s: float) -> None:
        self.now = 0.0
        self.asked = 0
        self.per_answer_s = per_answer_s

    def answer(self, question: DnsQuestion, within_s: float | None = None) -> DnsAnswer:
        """Answer after a while, at most what is left."""
        self.asked += 1
        self.now += min(self.per_answer_s, within_s or 0.0)
        return DnsAnswer()

    async def answers(self, questions: list[DnsQuestion], within_s: float) -> list[DnsAnswer]:
        """Answer all after a while."""
        return [self.answer(question, within_s) for question in questions]


def endless_search() -> Iterator[list[DnsQuestion]]:
    for number in range(10_000):
        yield [("TXT", b"%d.test" % number)]


@pytest.mark.parametrize("per_answer_s", [0.0, 3.0])
@pytest.mark.parametrize("is_blocking", [True, False])
def test_all_questions_of_a_message_are_64_and_take_ten_seconds(
    per_answer_s: float, is_blocking: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    from eqmail_core.dns import search

    slow = Slow(per_answer_s)
    monkeypatch.setattr(search.time, "monotonic", lambda: slow.now)
    run_it: Callable[..., object] = run_search_blocking if is_blocking else run_search
    found = run_it(slow, endless_search(), SEARCH_S)
    if not is_blocking:
        asyncio.run(found)  # type: ignore[arg-type]
    assert slow.asked <= (MAX_NAMES if not per_answer_s else 4)
    assert slow.now <= SEARCH_S == 10.0
