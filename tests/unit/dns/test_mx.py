"""Where mail for a host is offered: searches run against a table instead of the DNS."""

from collections.abc import Generator
from typing import TypeVar

import pytest

from eqmail_core.dns.mx import (
    MAX_ADDRESSES,
    MAX_EXCHANGERS,
    MxCandidate,
    addresses,
    canonical_name,
    exchangers,
    is_own,
    without_loop,
)
from eqmail_core.dns.query import AAAA, CNAME, MX, NO_ANSWER, NOTHING, A, DnsAnswer, DnsQuestion
from eqmail_core.outcome import Failure, PermanentFailure, TemporaryFailure
from eqmail_core.remote.plan import PlanEnvironment, RemotePlan, plan_delivery
from eqmail_core.smtp.connect import literal_address

Found = TypeVar("Found")
Table = dict[DnsQuestion, DnsAnswer]

NO_HOST_YET = b"Sorry, I couldn't find any host by that name. (#4.1.2)"


def run(search: Generator[list[DnsQuestion], list[DnsAnswer], Found], table: Table) -> Found:
    try:
        questions = next(search)
        while True:
            questions = search.send([table.get(question, NOTHING) for question in questions])
    except StopIteration as end:
        found: Found = end.value
        return found


def keep_order(items: list[tuple[int, bytes]]) -> None:
    pass


def find(table: Table, host: bytes = b"h.test", shuffle: object = keep_order) -> list[tuple[str, int]]:
    search = exchangers(host, literal_address, shuffle)  # type: ignore[arg-type]
    return [(it.ip, it.preference) for it in run(search, table)[0]]


def mx(*names: tuple[int, bytes]) -> DnsAnswer:
    return DnsAnswer(names=names)


def ips(*found: str) -> DnsAnswer:
    return DnsAnswer(addresses=found)


def failure_of(table: Table, host: bytes = b"h.test") -> Failure:
    with pytest.raises(Failure) as caught:
        find(table, host)
    return caught.value


def test_every_address_of_every_exchanger_in_order_of_preference_ipv6_first() -> None:
    table = {
        (MX, b"h.test"): mx((20, b"b"), (10, b"a")),
        (A, b"a"): ips("192.0.2.1", "192.0.2.2"),
        (AAAA, b"a"): ips("2001:db8::1"),
        (A, b"b"): ips("192.0.2.3"),
    }
    assert find(table) == [("2001:db8::1", 10), ("192.0.2.1", 10), ("192.0.2.2", 10), ("192.0.2.3", 20)]


def test_equal_preferences_are_shuffled() -> None:
    table = {
        (MX, b"h.test"): mx((10, b"a"), (10, b"b"), (5, b"c")),
        **{(A, name): ips(f"192.0.2.{number}") for number, name in enumerate((b"a", b"b", b"c"))},
    }
    assert [ip for ip, _ in find(table, shuffle=lambda items: items.reverse())] == [
        "192.0.2.2",
        "192.0.2.1",
        "192.0.2.0",
    ]


def test_without_an_exchanger_the_host_itself_counts() -> None:
    assert find({(A, b"h.test"): ips("192.0.2.1")}) == [("192.0.2.1", 0)]


@pytest.mark.parametrize("host", [b"192.0.2.9", b"[192.0.2.9]"])
def test_an_address_literal_needs_no_query(host: bytes) -> None:
    assert find({}, host) == [("192.0.2.9", 0)]


def test_a_name_that_does_not_exist_is_permanent_and_shown_safely() -> None:
    failure = failure_of({}, b"h\xe4 x.test")
    assert isinstance(failure, PermanentFailure)
    assert failure.text == b"Sorry, I couldn't find any host named h??x.test. (#5.1.2)"


@pytest.mark.parametrize(
    "table",
    [
        {(MX, b"h.test"): NO_ANSWER, (A, b"h.test"): ips("192.0.2.1")},
        {(A, b"h.test"): NO_ANSWER},
        {(AAAA, b"h.test"): NO_ANSWER},
        {(MX, b"h.test"): mx((1, b"a"), (2, b"b")), (A, b"b"): NO_ANSWER},
    ],
)
def test_dns_errors_are_temporary(table: Table) -> None:
    failure = failure_of(table)
    assert isinstance(failure, TemporaryFailure)
    assert failure.text == NO_HOST_YET


def test_a_dns_error_for_one_exchanger_is_ignored_when_another_resolves() -> None:
    table = {(MX, b"h.test"): mx((1, b"a"), (2, b"b")), (A, b"a"): NO_ANSWER, (A, b"b"): ips("192.0.2.1")}
    assert find(table) == [("192.0.2.1", 2)]


def test_exchangers_without_addresses_are_permanent() -> None:
    failure = failure_of({(MX, b"h.test"): mx((1, b"a")), (A, b"h.test"): ips("192.0.2.1")})
    assert failure.text == b"Sorry, I couldn't find a mail exchanger or IP address. (#5.4.4)"
    assert isinstance(failure, PermanentFailure)


def test_an_exchanger_may_be_an_address() -> None:
    table = {(MX, b"h.test"): mx((5, b"192.0.2.7"), (10, b"a")), (A, b"a"): ips("192.0.2.1")}
    assert find(table) == [("192.0.2.7", 5), ("192.0.2.1", 10)]
    assert find({(MX, b"h.test"): mx((5, b"192.0.2.7"))}) == [("192.0.2.7", 5)]


def test_exchangers_and_addresses_of_a_domain_are_bounded() -> None:
    many = {
        (MX, b"h.test"): mx(*[(number, b"mx%d" % number) for number in reversed(range(3000))]),
        **{(A, b"mx%d" % number): ips(*[f"192.0.2.{last}" for last in range(200)]) for number in range(3000)},
        **{(AAAA, b"mx%d" % number): ips(*[f"2001:db8::{last}" for last in range(1, 200)]) for number in range(3000)},
    }
    found = find(many)
    assert {preference for _, preference in found} == set(range(MAX_EXCHANGERS))
    assert len(found) == MAX_EXCHANGERS * 2 * MAX_ADDRESSES
    assert len(run(addresses(b"mx7", literal_address), many)) == 2 * MAX_ADDRESSES


def test_no_permanent_failure_while_exchangers_are_unresolved() -> None:
    table = {(MX, b"h.test"): mx(*[(number, b"mx%d" % number) for number in range(MAX_EXCHANGERS + 1)])}
    assert failure_of(table).text == NO_HOST_YET


def test_a_null_mx_is_permanent() -> None:
    failure = failure_of({(MX, b"h.test"): mx((0, b"")), (A, b"h.test"): ips("192.0.2.1")})
    assert isinstance(failure, PermanentFailure)
    assert failure.text.endswith(b"(#5.1.10)")


# --------------------------------------------------------------------- loops


def candidates(*found: tuple[str, int]) -> list[MxCandidate]:
    return [MxCandidate(ip, preference, b"x") for ip, preference in found]


def test_only_addresses_better_than_our_own_are_tried() -> None:
    found = candidates(("192.0.2.1", 5), ("192.0.2.2", 10), ("192.0.2.3", 10), ("192.0.2.4", 20))
    assert [it.ip for it in without_loop(found, {"192.0.2.3"})] == ["192.0.2.1"]
    assert len(without_loop(found, {"192.0.2.9"})) == 4


def test_being_the_best_exchanger_ourselves_is_permanent() -> None:
    with pytest.raises(PermanentFailure) as caught:
        without_loop(candidates(("192.0.2.1", 5), ("192.0.2.2", 5)), {"192.0.2.2"})
    assert caught.value.text.startswith(b"Sorry. Although I'm listed as a best-preference MX or A for that host,\n")
    assert caught.value.text.endswith(b"(#5.4.6)")


LOOKED_UP: Table = {(MX, b"h.test"): mx((10, b"first"), (20, b"self"), (30, b"last")), (A, b"self"): ips("192.0.2.1")}
LAST: Table = {(A, b"last"): ips("192.0.2.3")}
NO_BETTER_ONE = b"Sorry, I couldn't find a mail exchanger or IP address. (#4.4.4)"


@pytest.mark.parametrize(
    ("table", "text"),
    [
        # The primary cannot be looked up, or has no address; nothing goes to the one behind us.
        (LOOKED_UP | LAST | {(A, b"first"): NO_ANSWER}, NO_HOST_YET),
        (LOOKED_UP | LAST | {(AAAA, b"first"): NO_ANSWER}, NO_HOST_YET),
        (LOOKED_UP | LAST, NO_BETTER_ONE),
        # Our own name cannot be looked up: perhaps the others would send it back.
        (LOOKED_UP | LAST | {(A, b"self"): NO_ANSWER}, NO_HOST_YET),
        (LOOKED_UP | {(A, b"self"): NO_ANSWER, (A, b"first"): NO_ANSWER}, NO_HOST_YET),
    ],
)
def test_a_secondary_waits_until_a_better_exchanger_can_be_found(table: Table, text: bytes) -> None:
    with pytest.raises(TemporaryFailure) as caught:
        plan(table, b"a@h.test")
    assert caught.value.text == text


def test_a_secondary_that_finds_a_better_exchanger_needs_no_other() -> None:
    table = LOOKED_UP | LAST | {(A, b"first"): ips("192.0.2.9"), (A, b"self"): NO_ANSWER}
    assert [it.ip for it in plan(table, b"a@h.test").candidates] == ["192.0.2.9"]


def test_a_dns_error_for_a_worse_exchanger_does_not_make_us_a_secondary() -> None:
    table = LOOKED_UP | {(MX, b"h.test"): mx((10, b"self"), (30, b"last")), (A, b"last"): NO_ANSWER}
    with pytest.raises(PermanentFailure):
        plan(table, b"a@h.test")


def test_a_mapped_address_is_our_own_too() -> None:
    assert is_own("::ffff:192.0.2.1", {"192.0.2.1"})
    assert not is_own("::1", {"192.0.2.1"})


# --------------------------------------------------------------------- aliases


def test_aliases_are_followed_and_a_trailing_dot_goes() -> None:
    table = {(CNAME, b"a.test"): mx((0, b"b.test")), (CNAME, b"b.test"): mx((0, b"c.test"))}
    assert run(canonical_name(b"a.test."), table) == b"c.test"
    assert run(canonical_name(b"[192.0.2.1]"), table) == b"[192.0.2.1]"


def test_an_endless_alias_ends() -> None:
    table = {(CNAME, b"a.test"): mx((0, b"b.test")), (CNAME, b"b.test"): mx((0, b"a.test"))}
    assert run(canonical_name(b"a.test"), table) == b"a.test"


def test_a_dns_error_for_an_alias_is_temporary() -> None:
    with pytest.raises(TemporaryFailure) as caught:
        run(canonical_name(b"a.test"), {(CNAME, b"a.test"): NO_ANSWER})
    assert caught.value.text == b"CNAME lookup failed temporarily. (#4.4.3)"


# --------------------------------------------------------------------- whole plans


def plan(
    table: Table,
    *recipients: bytes,
    sender: bytes = b"s@x",
    routes: dict[bytes, bytes] | None = None,
    host: bytes = b"h.test",
) -> RemotePlan:
    world = PlanEnvironment(literal_address, lambda: {"192.0.2.1"}, keep_order)
    return run(plan_delivery(host, sender, list(recipients), routes, world, {b"self"}), table)


def test_recipients_get_their_canonical_host_and_quoted_boxes() -> None:
    table = {(CNAME, b"h.test"): mx((0, b"real.test")), (A, b"h.test"): ips("192.0.2.7")}
    found = plan(table, b"a b@h.test", b"c@other.test", sender=b"x y@H.Test")
    assert found.recipients == [b'"a b"@real.test', b"c@other.test"]
    assert found.sender == b'"x y"@H.Test'


def test_by_a_route_nothing_is_rewritten_and_our_own_address_is_fine() -> None:
    table = {(CNAME, b"h.test"): mx((0, b"real.test")), (A, b"relay.test"): ips("192.0.2.1")}
    found = plan(table, b"a@h.test", routes={b"h.test": b"relay.test:26 u p"})
    assert found.recipients == [b"a@h.test"]
    assert [it.ip for it in found.candidates] == ["192.0.2.1"]
    assert (found.route.port, found.route.user, found.route.password) == (26, b"u", b"p")


def test_mail_loops_are_detected_unless_all_recipients_are_aliases() -> None:
    table = {(A, b"h.test"): ips("192.0.2.1"), (CNAME, b"alias.test"): mx((0, b"h.test"))}
    with pytest.raises(PermanentFailure):
        plan(table, b"a@h.test", b"b@alias.test")
    assert [it.ip for it in plan(table, b"b@alias.test").candidates] == ["192.0.2.1"]


def test_a_route_without_a_relay_but_with_a_port_uses_the_mx_at_that_port() -> None:
    found = plan({(A, b"h.test"): ips("192.0.2.7")}, b"a@h.test", routes={b"": b":2525"})
    assert ([it.ip for it in found.candidates], found.route.port) == (["192.0.2.7"], 2525)


@pytest.mark.parametrize(("sender", "recipient"), [(b"s\r\nRSET@x", b"r@y"), (b"s@x", b"r@y\nDATA")])
def test_no_address_smuggles_a_command(sender: bytes, recipient: bytes) -> None:
    with pytest.raises(PermanentFailure):
        plan({}, recipient, sender=sender)


def test_the_empty_sender_stays_empty() -> None:
    assert plan({(A, b"h.test"): ips("192.0.2.7")}, b"a@h.test", sender=b"").sender == b""


def test_addresses_of_a_relay_are_its_own_only() -> None:
    table = {(MX, b"relay.test"): mx((1, b"elsewhere")), (AAAA, b"relay.test"): ips("2001:db8::1")}
    assert [it.ip for it in run(addresses(b"relay.test", literal_address), table)] == ["2001:db8::1"]


def test_hosts_beyond_ascii_are_looked_up_as_a_labels_and_sent_as_they_are() -> None:
    domain = "müller.test".encode()
    table = {(MX, b"xn--mller-kva.test"): mx((10, b"a")), (A, b"a"): ips("192.0.2.7")}
    found = plan(table, b"joe@" + domain, host=domain)
    assert [it.ip for it in found.candidates] == ["192.0.2.7"]
    assert found.recipients == [b"joe@" + domain]
    table = {(A, b"xn--mller-kva.test"): ips("192.0.2.7")}
    by_route = plan(table, b"joe@x.test", routes={b"": domain + b":26"})
    assert [(it.ip, it.name) for it in by_route.candidates] == [("192.0.2.7", b"xn--mller-kva.test")]
