"""The resolver against a name server on loopback."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.rcode
import pytest

from eqmail_core.dns import resolver
from eqmail_core.dns.answers import MAX_RECORDS
from eqmail_core.dns.cache import DnsCache
from eqmail_core.dns.query import AAAA, CNAME, MX, NO_ANSWER, NO_SUCH_NAME, NOTHING, PTR, TXT, A, DnsAnswer, DnsQuestion
from eqmail_core.dns.resolver import AsyncResolver, BlockingResolver
from tests.support.name_server import NameServer, Zone

ZONE: Zone = {
    ("h.test", "MX"): ["20 b.test.", "10 A.test."],
    ("a.test", "A"): ["192.0.2.1", "192.0.2.2", "192.0.2.3"],
    ("a.test", "AAAA"): ["2001:db8:0:0::1"],
    ("alias.test", "CNAME"): ["a.test."],
    ("null.test", "MX"): ["0 ."],
    ("big.test", "MX"): [f"{number} mx{number}.{'x' * 50}.test." for number in range(60)],
    ("many.test", "MX"): [f"{number} m{number}.test." for number in reversed(range(1000))],
    ("many.test", "A"): [f"192.0.{number // 200}.{number % 200}" for number in range(1000)],
    ("xn--mller-kva.test", "A"): ["192.0.2.7"],
    ("text.test", "TXT"): ['"one " "record"', '"another"'],
    ("1.2.0.192.in-addr.arpa", "PTR"): ["A.test.", "b.test."],
    ("loop.test", "CNAME"): ["loop2.test."],
    ("loop2.test", "CNAME"): ["loop.test."],
}

Ask = Callable[[DnsQuestion], DnsAnswer]


@pytest.fixture
def server() -> Iterator[NameServer]:
    with NameServer(ZONE) as running:
        yield running


@pytest.fixture(params=["blocking", "asyncio"])
def ask(request: pytest.FixtureRequest, server: NameServer) -> Ask:
    """Queries with a timeout that is long enough for a busy machine."""
    return ask_with(request.param, server, 60.0)


@pytest.fixture(params=["blocking", "asyncio"])
def ask_briefly(request: pytest.FixtureRequest, server: NameServer) -> Ask:
    """For queries without an answer."""
    return ask_with(request.param, server, 0.3)


def ask_with(kind: str, server: NameServer, limit_s: float) -> Ask:
    if kind == "blocking":
        return BlockingResolver(["127.0.0.1"], server.port, timeout_s=limit_s).answer

    def answer(question: DnsQuestion) -> DnsAnswer:
        async def once() -> DnsAnswer:
            return (await AsyncResolver(["127.0.0.1"], server.port, timeout_s=limit_s).answers([question]))[0]

        return asyncio.run(once())

    return answer


def test_every_exchanger_is_returned_with_its_preference(ask: Ask) -> None:
    assert sorted(ask((MX, b"H.test")).names) == [(10, b"A.test"), (20, b"b.test")]


def test_every_address_is_returned_in_canonical_form(ask: Ask) -> None:
    assert sorted(ask((A, b"a.test")).addresses) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    assert ask((AAAA, b"a.test.")).addresses == ("2001:db8::1",)


def test_an_alias_leads_to_the_addresses_of_its_target(ask: Ask) -> None:
    assert len(ask((A, b"alias.test")).addresses) == 3
    assert ask((CNAME, b"alias.test")).names == ((0, b"a.test"),)


def test_the_strings_of_a_text_record_are_one_text(ask: Ask) -> None:
    assert set(ask((TXT, b"text.test")).texts) == {b"one record", b"another"}
    assert ask((TXT, b"a.test")) is NOTHING


def test_the_names_of_an_address(ask: Ask) -> None:
    assert {name for _, name in ask((PTR, b"1.2.0.192.in-addr.arpa")).names} == {b"A.test", b"b.test"}


def test_a_null_mx_has_an_empty_name(ask: Ask) -> None:
    assert ask((MX, b"null.test")).names == ((0, b""),)


def test_a_truncated_answer_comes_by_tcp(ask: Ask, server: NameServer) -> None:
    assert len(ask((MX, b"big.test")).names) == 60
    assert server.asked == [("big.test", "MX", "udp"), ("big.test", "MX", "tcp")]


@pytest.mark.parametrize("name", [b"missing.test", b"", b".", b"a..test", b"x" * 64 + b".test", b"a." * 200])
def test_a_missing_name_is_distinguished_from_a_missing_record(ask: Ask, name: bytes) -> None:
    assert ask((A, name)) is NO_SUCH_NAME


def test_a_name_without_such_a_record_is_nothing(ask: Ask) -> None:
    assert ask((MX, b"a.test")) is NOTHING


def test_a_name_beyond_ascii_is_asked_for_by_its_a_labels(ask: Ask, server: NameServer) -> None:
    assert ask((A, "Müller.test".encode())).addresses == ("192.0.2.7",)
    assert server.asked == [("xn--mller-kva.test", "A", "udp")]


def test_of_many_records_the_best_are_kept_and_no_more(ask: Ask) -> None:
    assert [preference for preference, _ in ask((MX, b"many.test")).names] == list(range(MAX_RECORDS))
    assert len(ask((A, b"many.test")).addresses) == MAX_RECORDS


@pytest.mark.parametrize("name", [b"servfail.test", b"silent.test", b"garbage.test", b"loop.test"])
def test_dns_errors_are_temporary(ask_briefly: Ask, name: bytes) -> None:
    assert ask_briefly((A, name)) is NO_ANSWER


@pytest.mark.parametrize("content", [None, "# nobody\n", "nameserver nonsense\n"])
def test_without_a_name_server_everything_is_temporary(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported = tmp_path / "resolv.conf"
    if content is not None:
        reported.write_text(content)
    monkeypatch.setattr(resolver, "RESOLV_CONF", str(reported))
    assert BlockingResolver().answer((A, b"a.test")) is NO_ANSWER
    assert BlockingResolver().answer((A, b"")) is NO_SUCH_NAME


def test_answers_are_kept_also_that_there_is_none(server: NameServer) -> None:
    client = BlockingResolver(["127.0.0.1"], server.port)
    for _ in range(3):
        assert client.answer((A, b"A.Test")).addresses
        assert client.answer((A, b"missing.test")) is NO_SUCH_NAME
    assert len(server.asked) == 2


def test_concurrent_queries_for_one_name_are_sent_once(server: NameServer) -> None:
    async def many() -> list[list[DnsAnswer]]:
        client = AsyncResolver(["127.0.0.1"], server.port)
        found = await asyncio.gather(*[client.answers([(A, b"a.test"), (AAAA, b"a.test")]) for _ in range(20)])
        found.append(await client.answers([(AAAA, b"a.test"), (A, b"a.test")]))
        return found

    *first, last = asyncio.run(many())
    assert len(server.asked) == 2
    assert all([len(answer.addresses) for answer in answers] == [3, 1] for answers in first)
    assert [len(answer.addresses) for answer in last] == [1, 3]


def test_a_cancelled_query_does_not_disturb_the_others(server: NameServer) -> None:
    async def two() -> list[DnsAnswer]:
        client = AsyncResolver(["127.0.0.1"], server.port)
        cancelled = asyncio.ensure_future(client.answers([(A, b"a.test")]))
        completed = asyncio.ensure_future(client.answers([(A, b"a.test")]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        cancelled.cancel()
        return await completed

    assert len(asyncio.run(two())[0].addresses) == 3


def test_the_cache_forgets_by_time_and_is_bounded() -> None:
    now = [0.0]
    cache = DnsCache(size=3, clock=lambda: now[0])
    questions: list[DnsQuestion] = [(A, b"%d" % number) for number in range(5)]
    for question in questions:
        cache.put(question, NOTHING, 10)
        cache.put(question, NO_ANSWER, 10)
    assert [cache.get(question) is NOTHING for question in questions] == [False, False, True, True, True]
    assert len(cache) == 3
    cache.put((A, b"wide"), DnsAnswer(addresses=("192.0.2.1", "192.0.2.2")), 10)
    assert len(cache) == 2
    cache.put((A, b"wider"), DnsAnswer(addresses=("192.0.2.1",) * 5), 10)
    assert len(cache) == 1
    now[0] = 10.0
    assert all(cache.get(question) is None for question in [*questions, (A, b"wider")])
    assert len(cache) == 0
    cache.put((A, b"again"), NOTHING, 10)
    cache.put((A, b"again"), NOTHING, 10)
    cache.put((A, b"two"), DnsAnswer(addresses=("192.0.2.1", "192.0.2.2")), 10)
    assert len(cache) == 2


def test_a_silent_server_delays_no_other_query(server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many searches for many names without an answer; another search is answered before any of them."""
    monkeypatch.setattr(resolver, "MAX_BESIDE", 12)

    async def harness() -> int:
        client = AsyncResolver(["127.0.0.1"], server.port, timeout_s=3600.0)
        names = [[(A, b"silent%d.%d.test" % (number, other)) for other in range(50)] for number in range(20)]
        searches = [asyncio.ensure_future(client.answers(questions)) for questions in names]
        while len(server.asked) < 20 + 12:
            await asyncio.sleep(0.01)
        for question in ((MX, b"h.test"), (A, b"a.test")):
            (answer,) = await client.answers([question])
            assert not answer.is_temporary
        assert not any(search.done() for search in searches)
        for search in searches:
            search.cancel()
        await asyncio.wait(searches)
        assert client._beside == 0
        return len({name for name, _, _ in server.asked if name.startswith("silent")})

    # One of each search, and so many beside them.
    assert asyncio.run(harness()) == 20 + 12


def test_a_search_has_a_time_limit_and_keeps_its_partial_answers(server: NameServer) -> None:
    async def harness() -> list[DnsAnswer]:
        client = AsyncResolver(["127.0.0.1"], server.port, timeout_s=3600.0)
        await client.answers([(A, b"a.test")])
        return await client.answers([(A, b"silent.test"), (A, b"a.test"), (A, b"silent2.test")], within_s=0.05)

    first, second, third = asyncio.run(harness())
    assert (first, third) == (NO_ANSWER, NO_ANSWER)
    assert len(second.addresses) == 3


def test_a_query_gets_the_remaining_time_only(server: NameServer) -> None:
    client = BlockingResolver(["127.0.0.1"], server.port, timeout_s=3600.0)
    assert client.answer((A, b"silent.test"), within_s=0.05) is NO_ANSWER
    assert client.answer((A, b"a.test"), within_s=5.0).addresses


@pytest.mark.parametrize("rcode", [dns.rcode.FORMERR, dns.rcode.NOTIMP])
@pytest.mark.parametrize("kind", ["blocking", "asyncio"])
def test_a_server_that_knows_no_edns_is_asked_without_it(kind: str, rcode: dns.rcode.Rcode) -> None:
    questions = [(MX, b"h.test"), (A, b"a.test"), (A, b"missing.test"), (MX, b"big.test")]
    with NameServer(ZONE, without_edns=rcode) as server:
        if kind == "blocking":
            blocking = BlockingResolver(["127.0.0.1"], server.port)
            answers = [blocking.answer(question) for question in questions]
        else:
            answers = asyncio.run(AsyncResolver(["127.0.0.1"], server.port).answers(questions))
    assert [len(answer.names) + len(answer.addresses) for answer in answers] == [2, 3, 0, 60]
    assert not any(answer.is_temporary for answer in answers)


@pytest.mark.parametrize("kind", ["blocking", "asyncio"])
def test_a_server_that_is_silent_is_not_asked_first_again(
    kind: str, server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs its time once; one after the other, three questions that no cache knows."""
    monkeypatch.setattr(resolver, "TRY_S", 2.0)
    questions = [(MX, b"h.test"), (A, b"a.test"), (AAAA, b"a.test")]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.9", server.port))
        where = (["127.0.0.9", "127.0.0.1"], server.port, 60.0)
        if kind == "blocking":
            blocking = BlockingResolver(*where)
            answers = [blocking.answer(question) for question in questions]
        else:

            async def ask_all() -> list[DnsAnswer]:
                client = AsyncResolver(*where)
                return [(await client.answers([question]))[0] for question in questions]

            answers = asyncio.run(ask_all())
        assert not any(answer.is_temporary for answer in answers)
        silent.setblocking(False)
        assert silent.recv(1000)
        with pytest.raises(BlockingIOError):
            silent.recv(1000)


@pytest.mark.parametrize("kind", ["blocking", "asyncio"])
def test_a_server_that_was_silent_is_asked_when_the_other_is_gone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "TRY_S", 0.2)
    with NameServer(ZONE) as first:
        port = first.port
        where = (["127.0.0.9", "127.0.0.1"], port, 10.0)
        loop = asyncio.new_event_loop()
        if kind == "blocking":
            ask = BlockingResolver(*where).answer
        else:
            client = loop.run_until_complete(_made(where))

            def ask(question: DnsQuestion) -> DnsAnswer:
                return loop.run_until_complete(client.answers([question]))[0]

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.9", port))
            assert not ask((MX, b"h.test")).is_temporary
    with NameServer(ZONE, host="127.0.0.9", port=port) as second:
        assert not ask((A, b"a.test")).is_temporary
        assert second.asked == [("a.test", "A", "udp")]
    loop.close()


async def _made(where: tuple[list[str], int, float]) -> AsyncResolver:
    return AsyncResolver(*where)
