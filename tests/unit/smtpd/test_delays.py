"""How clients are made to wait, and what their own variables change about it."""

import pytest

from eqmail_core.smtpd.policy.authority import ClientAuthority
from eqmail_core.smtpd.policy.config import Delays

SETTLED = Delays(1, 2, 3)


def waits(client: ClientAuthority) -> tuple[int, list[int]]:
    return client.greeting_delay_s, [client.recipient_delay_s(count) for count in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("environ", "greeting_s", "recipients_s"),
    [
        ({}, 1, [0, 0, 3, 3]),
        ({b"GREETDELAY": b"9"}, 9, [0, 0, 3, 3]),
        ({b"TARPITCOUNT": b"0", b"TARPITDELAY": b"30"}, 1, [0, 0, 0, 0]),
        ({b"TARPITCOUNT": b"1"}, 1, [0, 3, 3, 3]),
        ({b"GREETDELAY": b"", b"TARPITCOUNT": b"x", b"TARPITDELAY": b"-1"}, 1, [0, 0, 3, 3]),
        ({b"GREETDELAY": b"9" * 5000}, 1, [0, 0, 3, 3]),
        ({b"GREETDELAY": b"9", b"RELAYCLIENT": b""}, 0, [0, 0, 0, 0]),
    ],
)
def test_what_is_no_number_does_not_count(
    environ: dict[bytes, bytes], greeting_s: int, recipients_s: list[int]
) -> None:
    assert waits(ClientAuthority(environ, SETTLED)) == (greeting_s, recipients_s)


def test_a_plugin_changes_the_delays_of_its_client() -> None:
    client = ClientAuthority({}, SETTLED)
    client.set_variable(b"TARPITDELAY", b"7")
    client.set_variable(b"TARPITCOUNT", b"3")
    assert waits(client) == (1, [0, 0, 0, 7])
    client.unset_variable(b"TARPITCOUNT")
    assert waits(client) == (1, [0, 0, 7, 7])
    client.set_variable(b"RELAYCLIENT", b"")
    assert waits(client) == (0, [0, 0, 0, 0])
