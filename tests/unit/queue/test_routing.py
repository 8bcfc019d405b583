"""Channels and rewritten addresses."""

import pytest

from eqmail_core.queue.format.channels import LOCAL, REMOTE
from eqmail_core.queue.routing import Routes

ROUTES = Routes(
    b"me.example.org",
    locals=[b"Example.org"],
    percenthack=[b"pct.org"],
    virtual={
        b"virt.org": b"foo+v",
        b".virt.org": b"foo+sub",
        b"u@exact.org": b"foo+e",
        b"not.virt.org": b"",
        b"example.org": b"never",
    },
)


@pytest.mark.parametrize(
    ("recipient", "channel", "address"),
    [
        (b"x@virt.org", LOCAL, b"foo+v-x@virt.org"),
        (b"X@VIRT.org", LOCAL, b"foo+v-X@VIRT.org"),
        (b"y%virt.org@pct.org", LOCAL, b"foo+v-y@virt.org"),
        (b"y%a.b%PCT.org@pct.org", REMOTE, b"y@a.b"),
        (b"y@pct.org", REMOTE, b"y@pct.org"),
        (b"z@a.virt.org", LOCAL, b"foo+sub-z@a.virt.org"),
        (b"z@b.a.virt.org", LOCAL, b"foo+sub-z@b.a.virt.org"),
        (b"z@.virt.org", LOCAL, b"foo+sub-z@.virt.org"),
        (b"u@exact.org", LOCAL, b"foo+e-u@exact.org"),
        (b"v@exact.org", REMOTE, b"v@exact.org"),
        (b"z@not.virt.org", REMOTE, b"z@not.virt.org"),
        (b"rem@other.net", REMOTE, b"rem@other.net"),
        (b"@example.org", LOCAL, b"@example.org"),
        (b"a@b@example.org", LOCAL, b"a@b@example.org"),
        (b"joe", REMOTE, b"joe@me.example.org"),
    ],
)
def test_recipients_take_their_channel(recipient: bytes, channel: int, address: bytes) -> None:
    assert ROUTES.route(recipient) == (channel, address)
    assert ROUTES.route(recipient) == (channel, address), "the second answer comes from memory"


def test_the_empty_key_catches_everything_else() -> None:
    routes = Routes(b"h", locals=[b"l.org"], virtual={b"": b"all", b"free.org": b""})
    assert routes.route(b"a@b.c") == (LOCAL, b"all-a@b.c")
    assert routes.route(b"a@free.org") == (REMOTE, b"a@free.org")
    assert routes.route(b"a@l.org") == (LOCAL, b"a@l.org")


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        (b"foo+v-x@virt.org", b"x@virt.org"),
        (b"foo+sub-z@b.a.virt.org", b"z@b.a.virt.org"),
        (b"other-x@virt.org", b"other-x@virt.org"),
        (b"foo+v@virt.org", b"foo+v@virt.org"),
        (b"z@not.virt.org", b"z@not.virt.org"),
        (b"joe@example.net", b"joe@example.net"),
        (b"joe", b"joe"),
    ],
)
def test_bounces_show_addresses_as_the_sender_wrote_them(stored: bytes, sent: bytes) -> None:
    assert ROUTES.original_address(stored) == sent


def test_memory_of_recipients_is_bounded() -> None:
    routes = Routes(b"h", locals=[b"l.org"])
    for number in range(10_000):
        assert routes.route(b"%d@l.org" % number) == (LOCAL, b"%d@l.org" % number)
    assert len(routes._known) <= 4096
