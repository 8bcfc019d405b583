"""How much mail a destination gets."""

import pytest

from eqmail_core.formats.remote_limits import Limit
from eqmail_core.policy.destination import LONGEST_PAUSE_S, PEACE_S, Destination, is_tired


def test_without_limits_nothing_waits() -> None:
    place = Destination(Limit())
    for _ in range(500):
        assert place.delay(1.0) == 0
        place.start(1.0)
    for _ in range(500):
        place.end(True, False, 2.0)
    assert place.is_forgettable(2.0)


def test_so_many_at_a_time() -> None:
    place = Destination(Limit(concurrency=2))
    place.start(1.0)
    assert place.delay(1.0) == 0
    place.start(1.0)
    assert place.delay(1.0) is None
    place.end(True, False, 1.0)
    assert place.delay(1.0) == 0


def test_a_rate_spaces_deliveries_and_idle_time_is_not_saved_up() -> None:
    place = Destination(Limit(spacing_s=0.5))
    for now, delay in ((10.0, 0.5), (10.5, 0.5), (99.0, 0.5)):
        assert place.delay(now) == 0
        place.start(now)
        assert place.delay(now) == delay
    place.end(True, False, 99.1)
    place.end(True, False, 99.1)
    place.end(True, False, 99.1)
    assert not place.is_forgettable(99.1)
    assert place.is_forgettable(99.5)


def test_a_tired_destination_gets_half_as_much_and_later_then_more_again() -> None:
    place = Destination(Limit())
    for _ in range(8):
        place.start(1.0)
    place.end(False, True, 1.0)
    assert place.delay(1.0) is None
    for _ in range(4):
        place.end(False, False, 1.0)
    assert place.delay(1.0) == 1.0
    place.end(False, True, 2.0)
    assert place.delay(2.0) is None
    place.end(True, False, 2.0)
    assert place.delay(2.0) == 2.0
    assert place.delay(4.0) == 0
    place.start(4.0)
    place.start(4.0)
    assert place.delay(4.0) is None
    assert not place.is_forgettable(4.0)


def test_pauses_have_an_end_and_peace_opens_the_window() -> None:
    place = Destination(Limit())
    for _ in range(20):
        place.start(5.0)
        place.end(False, True, 5.0)
    assert place.delay(5.0) == LONGEST_PAUSE_S
    place.start(6.0)
    assert place.delay(6.0) is None
    assert place.delay(5.0 + PEACE_S) == 0


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"421 too much", True),
        (b"450 4.2.1 slower", True),
        (b"451 4.7.1 greylisted", True),
        (b"451 4.3.0 trouble", False),
        (b"550 5.7.1 no", False),
        (b"250 4.7.0 odd", False),
    ],
)
def test_the_answer_tells(answer: bytes, expected: bool) -> None:
    assert is_tired(b"192.0.2.1 does not like recipient.\nRemote host said: " + answer + b"\n") is expected


def test_texts_of_our_own_tell_nothing() -> None:
    assert not is_tired(b"Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)\n421")
