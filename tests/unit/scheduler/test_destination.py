"""How much mail a destination gets."""

import pytest

from eqmail_core.control.remote_limits import Limit
from eqmail_core.scheduler.destination import (
    CALM_S,
    DEAD_AFTER,
    MAX_BACKOFF_S,
    DestinationThrottle,
    is_busy_reply,
    is_connection_failure,
)

YES = b"K", b"192.0.2.1 accepted message.\nRemote host said: 250 ok\n"
NO = b"D", b"192.0.2.1 does not like recipient.\nRemote host said: 550 no\n"
ENOUGH = b"Z", b"192.0.2.1 does not like recipient.\nRemote host said: 450 slower\n"
LATER = b"Z", b"192.0.2.1 does not like recipient.\nRemote host said: 451 4.3.0 trouble\n"
NOBODY = b"Z", b"Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)\n"
OURS = b"Z", b"System resources temporarily unavailable. (#4.3.0)\n"


def running(count: int, limit: Limit | None = None) -> DestinationThrottle:
    place = DestinationThrottle(limit or Limit())
    for _ in range(count):
        place.start(1.0)
    return place


def test_a_destination_begins_small_and_widens_with_every_message_that_it_takes() -> None:
    place = running(4)
    assert place.delay(1.0) == 0
    place.start(1.0)
    assert place.delay(1.0) is None
    for count in range(6, 50):
        place.end(*YES, 2.0)
        for _ in range(2):
            assert place.delay(2.0) == 0
            place.start(2.0)
        assert place.running == count
        assert place.delay(2.0) is None


def test_concurrency_per_destination_is_limited() -> None:
    place = running(1, Limit(concurrency=2))
    assert place.delay(1.0) == 0
    place.start(1.0)
    assert place.delay(1.0) is None
    place.end(*YES, 1.0)
    assert place.delay(1.0) == 0


def test_a_rate_spaces_deliveries_and_idle_time_is_not_saved_up() -> None:
    place = DestinationThrottle(Limit(spacing_s=0.5))
    for now, delay in ((10.0, 0.5), (10.5, 0.5), (99.0, 0.5)):
        assert place.delay(now) == 0
        place.start(now)
        assert place.delay(now) == delay
    for _ in range(3):
        place.end(*YES, 99.1)
    assert not place.is_expired(99.1)
    assert place.is_expired(99.5)


@pytest.mark.parametrize("report", [ENOUGH, NOBODY])
def test_a_deferring_destination_is_halved_and_later_grows_again(report: tuple[bytes, bytes]) -> None:
    place = running(4)
    place.end(*report, 1.0)
    assert place.delay(1.0) is None
    place.end(*NO, 1.0)
    place.end(*NO, 1.0)
    assert place.delay(1.0) == 1.0
    place.end(*report, 2.0)
    assert place.delay(2.0) == 2.0
    assert place.delay(4.0) == 0
    place.start(4.0)
    assert place.delay(4.0) is None
    place.end(*YES, 5.0)
    place.start(5.0)
    assert place.delay(5.0) == 0


def test_pauses_end_and_successes_reopen_the_window() -> None:
    place = DestinationThrottle(Limit())
    for _ in range(20):
        place.start(5.0)
        place.end(*ENOUGH, 5.0)
    assert place.delay(5.0) == MAX_BACKOFF_S
    place.start(6.0)
    assert place.delay(6.0) is None
    assert place.delay(5.0 + CALM_S) == 0


def test_an_unreachable_destination_is_dead_until_it_answers() -> None:
    place = running(5)
    for count in range(DEAD_AFTER):
        assert not place.is_dead, count
        place.end(*NOBODY, 1.0)
    assert place.is_dead
    assert place.last_error == NOBODY[1]
    assert place.delay(100.0) is None  # two still run, and one at a time is enough
    place.end(*NOBODY, 100.0)
    place.end(*NOBODY, 100.0)
    assert place.delay(100.0) == 16.0
    assert place.delay(116.0) == 0
    place.start(116.0)
    assert place.delay(200.0) is None
    place.end(*LATER, 200.0)
    assert not place.is_dead
    assert place.is_proven
    assert place.answered_at == 200.0


def test_local_errors_do_not_count_against_a_destination() -> None:
    place = running(3)
    for _ in range(3):
        place.end(*OURS, 1.0)
    assert not place.is_dead
    assert not place.is_proven
    assert place.is_expired(1.0)


def test_an_administrator_can_force_a_retry() -> None:
    place = running(5)
    for _ in range(5):
        place.end(*NOBODY, 1.0)
    assert place.delay(1.0)
    place.reset()
    assert not place.is_dead
    assert place.delay(1.0) == 0


def test_a_clock_that_was_set_back_stops_nothing_for_long() -> None:
    place = running(1)
    place.end(*ENOUGH, 1_000_000.0)
    assert place.delay(1000.0) == MAX_BACKOFF_S


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
def test_the_report_decides_the_outcome(answer: bytes, expected: bool) -> None:
    assert is_busy_reply(b"192.0.2.1 does not like recipient.\nRemote host said: " + answer + b"\n") is expected


def test_local_report_texts_do_not_count_as_deferrals() -> None:
    assert not is_busy_reply(b"Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)\n421")


@pytest.mark.parametrize(
    ("letter", "text", "expected"),
    [
        (*NOBODY, True),
        (b"Z", b"Connected to 192.0.2.1 but connection died. (#4.4.2)\n", True),
        (b"Z", b"CNAME lookup failed temporarily. (#4.4.3)\n", True),
        (b"Z", b"Sorry, I couldn't find any host by that name. (#4.1.2)\n", True),
        (b"D", b"Sorry, I couldn't find any host named x. (#5.1.2)\n", False),
        (b"Z", NOBODY[1] + b"Remote host said: 421 busy\n", False),
        (*OURS, False),
        (b"Z", b"Lost the connection to the delivery service; will try again. (#4.3.0)\n", False),
        (*YES, False),
    ],
)
def test_whether_the_destination_answered(letter: bytes, text: bytes, expected: bool) -> None:
    assert is_connection_failure(letter, text) is expected
