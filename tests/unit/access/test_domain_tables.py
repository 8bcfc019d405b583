"""Every table of domains knows a domain by both of its forms: with letters beyond ASCII, and as the DNS has it."""

from pathlib import Path

import pytest

from eqmail_core.access.badmailfrom import BadSenders
from eqmail_core.access.rcpthosts import RcptHosts
from eqmail_core.access.rcpthosts_database import compile_domains, lists_domain
from eqmail_core.control.controls import Controls
from eqmail_core.control.remote_limits import limit_of, parse_limits
from eqmail_core.mail.domain_match import domain_keys, find_by_host
from eqmail_core.queue.format.channels import LOCAL
from eqmail_core.queue.routing import Routes
from eqmail_core.scheduler.retry_schedule import RetrySchedule
from eqmail_core.smtpd.policy.recipient_lookup import RecipientCheck

UNICODE, ASCII = "Müller.example".encode(), b"xn--mller-kva.example"
BOTH_WAYS = pytest.mark.parametrize(("entry", "asked"), [(UNICODE, ASCII), (ASCII, UNICODE), (UNICODE, UNICODE)])


def maps(text: bytes) -> dict[bytes, bytes]:
    return Controls.virtualdomains.parse(text)[0] or {}


@pytest.mark.parametrize(
    ("host", "keys"),
    [
        (b"MX.a.Example", [b"mx.a.example", b".a.example", b".example"]),
        (b"example", [b"example"]),
        (b".a.example", [b".a.example", b".example"]),
        (b"", [b""]),
        (b"a..b.", [b"a..b.", b"..b.", b".b.", b"."]),
        (b"x." + UNICODE, [b"x." + ASCII, b"." + ASCII, b".example"]),
    ],
)
def test_the_keys_of_a_host_go_from_its_name_to_its_shortest_suffix(host: bytes, keys: list[bytes]) -> None:
    assert domain_keys(host) == keys


def test_the_most_specific_entry_counts_in_every_table() -> None:
    assert find_by_host({b".example": 1, b".a.example": 2}, b"mx.a.example") == 2
    assert find_by_host({b".example": 0}, b"mx.example") == 0
    assert find_by_host({b".example": 1}, b"example") is None
    assert RetrySchedule(10, (), {b".example": 90, b".a.example": 50}).is_over(60, b"joe@mx.a.example")
    routes = Routes(b"h", [], virtual={b".example": b"all", b".a.example": b"a", b"": b"rest"})
    assert routes.route(b"joe@mx.a.example") == (LOCAL, b"a-joe@mx.a.example")
    assert routes.route(b"joe@other") == (LOCAL, b"rest-joe@other")


def test_a_bare_domain_is_no_entry_about_senders() -> None:
    assert not BadSenders([b"example"]).refuses(b"joe@example")
    assert not BadSenders([b".example"]).refuses(b"joe@example")


@BOTH_WAYS
def test_the_server_takes_mail_for_a_domain_in_either_form(entry: bytes, asked: bytes) -> None:
    assert RcptHosts([entry]).accepts(b"joe@" + asked)
    assert RcptHosts([b"." + entry]).accepts(b"joe@mx." + asked)
    assert not RcptHosts([entry]).accepts(b"joe@other." + asked)


@BOTH_WAYS
def test_compiled_domains_are_known_in_either_form(entry: bytes, asked: bytes, tmp_path: Path) -> None:
    path = f"{tmp_path}/cdb"
    compile_domains(path, f"{path}.tmp", entry + b"\n")
    assert lists_domain(path, asked)


@BOTH_WAYS
def test_bad_senders_are_refused_in_either_form(entry: bytes, asked: bytes) -> None:
    for line, sender in ((b"joe@" + entry, b"joe@"), (b"@" + entry, b"x@"), (b"." + entry, b"x@a.")):
        assert BadSenders([line]).refuses(sender + asked)


@BOTH_WAYS
def test_mail_is_routed_by_either_form_and_keeps_its_address(entry: bytes, asked: bytes) -> None:
    assert Routes(b"h", [entry]).route(b"joe@" + asked) == (LOCAL, b"joe@" + asked)
    assert Routes(b"h", [b"h"], [entry]).route(b"joe%h@" + asked) == (LOCAL, b"joe@h")
    for key, host in ((entry, b""), (b"." + entry, b"sub."), (b"joe@" + entry, b"")):
        address = b"joe@" + host + asked
        routes = Routes(b"h", virtual=maps(key + b":ann\n"))
        assert routes.route(address) == (LOCAL, b"ann-" + address)
    assert Routes(b"h", virtual=maps(entry + b":ann\n")).original_address(b"ann-joe@" + asked) == b"joe@" + asked


@BOTH_WAYS
def test_recipients_are_looked_up_in_either_form(entry: bytes, asked: bytes) -> None:
    check = RecipientCheck([b"*", b"!" + entry], Routes(b"h", [asked, b"other"]))
    assert check.wanted(b"joe@" + asked) is None
    assert check.wanted(b"joe@other") == b"joe@other"


@BOTH_WAYS
def test_routes_lifetimes_and_limits_hold_for_either_form(entry: bytes, asked: bytes) -> None:
    assert find_by_host(maps(entry + b":relay\n"), asked) == b"relay"
    lifetimes = Controls.queuelifetimes.parse(entry + b":1h\n")[0]
    assert RetrySchedule(9000, (), lifetimes).is_over(3601, b"joe@" + asked)
    limits, _ = parse_limits([entry + b":concurrency=3"])
    assert limit_of(limits, asked.lower()).concurrency == 3
