"""How clients are made to wait, and what their own variables change about it."""

import pytest

from eqmail_core.smtpd.policy.config import Delays

SETTLED = Delays(1, 2, 3)


def reported(delays: Delays) -> tuple[int, int, int]:
    return delays.greet_s, delays.tarpit_count, delays.tarpit_s


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, (1, 2, 3)),
        ({b"GREETDELAY": b"9"}, (9, 2, 3)),
        ({b"TARPITCOUNT": b"0", b"TARPITDELAY": b"30"}, (1, 0, 30)),
        ({b"GREETDELAY": b"", b"TARPITCOUNT": b"x", b"TARPITDELAY": b"-1"}, (1, 2, 3)),
        ({b"GREETDELAY": b"9" * 5000}, (1, 2, 3)),
        ({b"GREETDELAY": b"9", b"RELAYCLIENT": b""}, (0, 0, 0)),
    ],
)
def test_what_is_no_number_does_not_count(environ: dict[bytes, bytes], expected: tuple[int, int, int]) -> None:
    assert reported(SETTLED.of(environ)) == expected


def test_recipients_beyond_the_number_wait() -> None:
    assert [SETTLED.before_recipient({}, count) for count in (1, 2, 3, 4)] == [0, 0, 3, 3]
    assert Delays().before_recipient({}, 99) == 0
    assert Delays(0, 0, 5).before_recipient({b"TARPITCOUNT": b"1"}, 2) == 5
