"""A clock that is set back is detected, and delays no delivery."""

from eqmail_core.control.remote_limits import Limit
from eqmail_core.dsn.rate_limit import HOUR_S, BounceLimit
from eqmail_core.queue.format.channels import LOCAL, REMOTE
from eqmail_core.remote.tcpto_table import TcptoEntry, after_attempt, is_to_skip
from eqmail_core.scheduler.clock_watch import ClockWatch
from eqmail_core.scheduler.destination_queues import MAX_WAIT_S, DestinationQueues
from eqmail_core.scheduler.retry_schedule import RetrySchedule

NOW = 1_700_000_000


def test_a_clock_step_back_is_logged_once() -> None:
    watch = ClockWatch()
    assert [watch.set_back_by(now) for now in (1000.0, 1000.5, 999.9, 900.2, 900.3, 5000.0)] == [0, 0, 0, 99, 0, 0]


def test_a_timeout_recorded_in_the_future_does_not_block_a_host() -> None:
    ip = b"\x7f\0\0\1"
    entries = [TcptoEntry(2, 10, NOW + 86400, ip)]
    assert not is_to_skip(entries, 2, ip, NOW, 1)
    assert after_attempt(entries, 2, ip, NOW, failed=True) == (0, TcptoEntry(2, 10, NOW, ip))
    assert is_to_skip([TcptoEntry(2, 10, NOW, ip)], 2, ip, NOW, 1)


def test_slots_of_hosts_with_past_times_are_reused() -> None:
    """A time in the future does not keep a slot forever."""
    entries = [TcptoEntry(2, 1, NOW + 86400, b"\x7f\0\0\1"), TcptoEntry(2, 2, NOW, b"\x7f\0\0\2")]
    assert after_attempt(entries, 2, b"\x7f\0\0\3", NOW, failed=True) == (0, TcptoEntry(2, 1, NOW, b"\x7f\0\0\3"))


def test_bounces_of_the_future_count_as_sent_now() -> None:
    limit = BounceLimit(1)
    assert limit.wait_s(b"a@b", NOW + 86400) == 0
    assert limit.wait_s(b"a@b", NOW) == HOUR_S
    assert limit.wait_s(b"a@b", NOW + HOUR_S) == 0


def test_a_recorded_time_is_bounded_by_the_schedule() -> None:
    schedule = RetrySchedule(604800)
    assert schedule.at_most(NOW + 400, NOW, REMOTE) == NOW + 400
    assert schedule.at_most(NOW + 604800, NOW, LOCAL) == NOW
    steps = RetrySchedule(604800, [300, 86400 * 2, 3600])
    assert steps.at_most(NOW + 86400 * 2, NOW, REMOTE) == NOW + 86400 * 2
    assert steps.at_most(NOW + 86400 * 3, NOW, REMOTE) == NOW


def test_deliveries_waiting_for_a_destination_ignore_the_clock_step() -> None:
    room: DestinationQueues[str] = DestinationQueues(8, {b"x.org": Limit(1, 0.0)})
    queue = room.enqueue(b"x.org", "first", NOW)
    assert room.next_ready(NOW) == ("first", b"")
    room.enqueue(b"x.org", "second", NOW)
    assert room.next_ready(NOW) is None
    before = room.wakes_at()
    assert before is not None
    room.set_back(86400)
    assert room.wakes_at() == before - 86400
    turned_away = room.next_ready(NOW - 86400 + MAX_WAIT_S + 1)
    assert turned_away is not None
    assert turned_away[0] == "second"
    assert queue.destination.answered_at <= NOW
