"""smtproutes: which entry matches, and what it means."""

import pytest

from eqmail_core.remote.routes import Route, parse_route, route_for

ROUTES = {
    b"exact.test": b"one",
    b".exact.test": b"two",
    b".test": b"three:26",
    b"direct.test": b"",
    b".c.d": b"four",
}


def parts(route: Route) -> tuple[bytes, int, bytes | None, bytes]:
    return route.relay, route.port, route.user, route.password


@pytest.mark.parametrize(
    ("host", "relay"),
    [
        (b"exact.test", b"one"),
        (b"EXACT.Test", b"one"),
        (b"a.b.exact.test", b"two"),
        (b"other.test", b"three"),
        (b"direct.test", b""),
        (b"x.direct.test", b"three"),
        (b"a.b.c.d", b"four"),
        (b"c.d", b""),
        (b"", b""),
    ],
)
def test_the_first_key_from_the_whole_name_on_decides(host: bytes, relay: bytes) -> None:
    assert route_for(ROUTES, host).relay == relay


def test_the_empty_key_takes_the_rest() -> None:
    routes = ROUTES | {b"": b"all:2525"}
    assert parts(route_for(routes, b"c.d")) == (b"all", 2525, None, b"")
    assert route_for(routes, b"direct.test").relay == b""


def test_without_the_file_everything_goes_to_its_mx() -> None:
    assert parts(route_for(None, b"a.test")) == (b"", 25, None, b"")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"relay", (b"relay", 25, None, b"")),
        (b"relay:26", (b"relay", 26, None, b"")),
        (b"relay:26x", (b"relay", 26, None, b"")),
        (b"relay:smtp", (b"relay", 25, None, b"")),
        (b"relay:999999999999", (b"relay", 25, None, b"")),
        (b"relay:65535", (b"relay", 65535, None, b"")),
        (b"relay:65536", (b"relay", 25, None, b"")),
        (b"relay:0", (b"relay", 25, None, b"")),
        (b"192.0.2.1:26", (b"192.0.2.1", 26, None, b"")),
        (b"[192.0.2.1]:26", (b"[192.0.2.1]", 26, None, b"")),
        (b"[2001:db8::1]", (b"[2001:db8::1]", 25, None, b"")),
        (b"[2001:db8::1]:26 u p", (b"[2001:db8::1]", 26, b"u", b"p")),
        (b"relay user pass word", (b"relay", 25, b"user", b"pass word")),
        (b"relay:26 user", (b"relay", 26, None, b"")),
        (b"relay  pass", (b"relay", 25, None, b"")),
        (b":26", (b"", 26, None, b"")),
    ],
)
def test_an_entry_is_relay_port_user_and_password(
    value: bytes, expected: tuple[bytes, int, bytes | None, bytes]
) -> None:
    assert parts(parse_route(value)) == expected
