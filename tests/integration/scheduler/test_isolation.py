"""Remote mail waits for its destination without a place, and so delays no other."""

from pathlib import Path
from typing import cast

import pytest

from eqmail_core.queue.format.channels import HELD_UNTIL, REMOTE
from eqmail_core.scheduler.destination_queues import MAX_WAIT_S, DestinationQueues
from eqmail_core.scheduler.ports import Job
from tests.support.scheduler_harness import NOW, SchedulerHarness
from tests.unit.scheduler.test_destination import NOBODY, YES


def staged(path: Path, limit: int = 20, room: int = 20_000) -> SchedulerHarness:
    harness = SchedulerHarness(path, limits=(10, limit))
    harness.scheduler.channels[REMOTE].room = DestinationQueues(limit, None, room)
    return harness


@pytest.fixture
def harness(tmp_path: Path) -> SchedulerHarness:
    return staged(tmp_path)


def old(harness: SchedulerHarness, number: int, *recipients: str, age_s: int = 0) -> None:
    harness.old(number, b"s@x.org", age_s=age_s, remote=b"".join(b"T%b\0" % it.encode() for it in recipients))
    harness.scheduler.enqueue(number, REMOTE, int(harness.now))


def rest(harness: SchedulerHarness) -> None:
    """Let the scheduler alone act until it wants to no more."""
    while harness.scheduler.pump(harness.now):
        pass


def end(harness: SchedulerHarness, domain: str, report: tuple[bytes, bytes] = YES) -> int:
    """End all deliveries to a domain that run; how many there were."""
    mine = [it for it in harness.running if it.endswith(b"@" + domain.encode())]
    for recipient in mine:
        harness.report(recipient, *report)
    return len(mine)


def test_a_dead_destination_with_thousands_of_messages_delays_no_other(harness: SchedulerHarness) -> None:
    for number in range(1, 2001):
        old(harness, number, f"r{number}@dead.org")
    for number in range(3001, 3101):
        old(harness, number, f"r{number}@live.org")
    rest(harness)
    assert sum(it.endswith(b"@dead.org") for it in harness.running) == 5
    delivered = 0
    while count := end(harness, "live.org"):
        delivered += count
        rest(harness)
    assert delivered == 100
    # Once the destination is dead all that waits is deferred at once, and follows its schedule.
    assert end(harness, "dead.org", NOBODY) == 5
    rest(harness)
    assert not harness.running
    assert len(harness.scheduler.channels[REMOTE].due) == 2000
    lines = harness.lines()
    assert sum("deferral: Left_alone_for_" in line and ",_after:_Sorry" in line for line in lines) == 1995


def test_a_message_for_two_destinations_waits_for_one_of_them_only(harness: SchedulerHarness) -> None:
    harness.admit(1, b"Fs@x.org\0" + b"".join(b"Tr%d@slow.org\0" % it for it in range(6)) + b"Ta@live.org\0")
    harness.turn()
    assert b"a@live.org" in harness.running
    assert b"r5@slow.org" not in harness.running
    end(harness, "live.org")
    end(harness, "slow.org")
    harness.turn()
    assert harness.running == [b"r5@slow.org"]
    end(harness, "slow.org")
    harness.turn()
    assert harness.lines()[-1] == "end msg 1"


def test_places_in_the_envelope_stay_right_whatever_waits(harness: SchedulerHarness) -> None:
    harness.admit(1, b"Fs@x.org\0" + b"".join(b"Tr%d@slow.org\0" % it for it in range(9)) + b"Ta@live.org\0")
    harness.turn()
    places = {it.recipient: it.recipient_index for it, _ in harness.remote.orders}
    assert places[b"a@live.org"] == 9
    end(harness, "slow.org")
    harness.turn()
    places |= {it.recipient: it.recipient_index for it, _ in harness.remote.orders}
    assert {places[b"r%d@slow.org" % it] for it in range(9)} == set(range(9))


def test_a_delivery_that_waited_in_vain_is_deferred_and_can_expire(tmp_path: Path) -> None:
    harness = SchedulerHarness(tmp_path, limits=(10, 20), lifetime_s=1000)
    harness.scheduler.channels[REMOTE].room = DestinationQueues(20)
    for number in range(1, 7):
        old(harness, number, f"r{number}@slow.org", age_s=2000)
    harness.turn()
    assert len(harness.running) == 5
    harness.turn(MAX_WAIT_S)
    assert len(harness.running) == 5
    assert any("failure: Too_much_mail_for_this_destination" in line for line in harness.lines())


def test_a_message_in_memory_that_waits_goes_to_the_disk_and_is_delivered_from_there(harness: SchedulerHarness) -> None:
    serial = harness.admit(1, b"Fs@x.org\0" + b"".join(b"Tr%d@slow.org\0" % it for it in range(6)))
    harness.turn()
    harness.turn(2.0)
    assert harness.message_store.notices == [("waits", serial)]
    harness.written(serial, 1)
    assert harness.files(1)["remote"] == b"".join(b"Tr%d@slow.org\0" % it for it in range(6))
    end(harness, "slow.org")
    harness.turn()
    assert harness.running == [b"r5@slow.org"]
    end(harness, "slow.org")
    harness.turn()
    assert harness.files(1) == {}


def test_where_there_is_no_room_a_message_comes_back(tmp_path: Path) -> None:
    harness = staged(tmp_path, room=30)
    for number in range(1, 101):
        old(harness, number, f"r{number}@dead.org", f"s{number}@live.org", age_s=4000)
    rest(harness)
    while end(harness, "live.org"):
        rest(harness)
    # 15 wait or are tried; the others come back after a quarter of their age or ten minutes.
    dues = [due - int(harness.now) for _, due in harness.scheduler.channels[REMOTE].due]
    assert 80 <= len(dues) <= 90
    assert set(dues) == {600}
    # Every recipient at the dead destination is still in the queue.
    for number in range(1, 101):
        assert harness.files(number)["remote"].startswith(b"Tr%d@dead.org\0" % number)


def test_a_long_list_for_one_destination_is_read_on_as_it_takes_mail(tmp_path: Path) -> None:
    harness = staged(tmp_path, room=60)
    old(harness, 1, "first@big.org")
    harness.turn()
    end(harness, "big.org")
    harness.turn()
    old(harness, 2, *[f"r{number}@big.org" for number in range(500)])
    harness.turn()
    assert harness.scheduler.channels[REMOTE].stalled
    old(harness, 3, "a@live.org")
    harness.turn()
    assert b"a@live.org" in harness.running
    end(harness, "live.org")
    delivered = 0
    while count := end(harness, "big.org"):
        delivered += count
        harness.turn()
    assert delivered == 500
    assert not harness.scheduler.channels[REMOTE].due
    assert harness.files(2) == {}


def test_a_message_can_be_held_while_it_waits(harness: SchedulerHarness) -> None:
    for number in range(1, 8):
        old(harness, number, f"r{number}@slow.org")
    harness.turn()
    waiting = next(number for number in range(1, 8) if b"r%d@slow.org" % number not in harness.running)
    job = harness.scheduler.channels[REMOTE].open[waiting]
    job.retry = HELD_UNTIL
    assert harness.scheduler.attempts.suspend(waiting) == []
    assert harness.due_of(REMOTE, waiting) == [HELD_UNTIL - int(harness.now)]
    end(harness, "slow.org")
    harness.turn()
    assert b"r%d@slow.org" % waiting not in harness.running


def test_at_the_end_waiting_deliveries_are_left_on_the_disk(harness: SchedulerHarness) -> None:
    for number in range(1, 8):
        old(harness, number, f"r{number}@slow.org")
    serial = harness.admit(9, b"Fs@x.org\0Tr9@slow.org\0")
    harness.turn()
    assert len(harness.running) == 5
    harness.scheduler.exit()
    harness.spilling.exit()
    assert sum(due == int(harness.now) for _, due in harness.scheduler.channels[REMOTE].due) == 3
    assert harness.message_store.notices == [("waits", serial)]
    end(harness, "slow.org")
    harness.turn()
    assert harness.scheduler.idle


def test_alrm_tries_dead_destinations_again(harness: SchedulerHarness) -> None:
    for number in range(1, 7):
        old(harness, number, f"r{number}@dead.org")
    harness.turn()
    end(harness, "dead.org", NOBODY)
    harness.turn()
    assert not harness.running
    harness.scheduler.retry_all()
    harness.turn()
    assert len(harness.running) == 5


def test_two_long_lists_are_both_read_on(tmp_path: Path) -> None:
    harness = staged(tmp_path, room=60)
    for number, domain in ((1, "big.org"), (2, "large.net")):
        old(harness, number, f"first@{domain}")
    harness.turn()
    for domain in ("big.org", "large.net"):
        end(harness, domain)
    harness.turn()
    for number, domain in ((3, "big.org"), (4, "large.net")):
        old(harness, number, *[f"r{count}@{domain}" for count in range(300)])
    harness.turn()
    assert len(harness.scheduler.channels[REMOTE].stalled) == 2
    for domain in ("large.net", "big.org"):
        delivered = 0
        while count := end(harness, domain):
            delivered += count
            harness.turn()
        assert delivered == 300, f"{domain} takes mail, whatever the other does"
    assert harness.files(3) == harness.files(4) == {}


def test_of_two_stalled_attempts_the_one_whose_destination_has_room_goes_on(
    harness: SchedulerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Room:
        free = {b"free.example"}

        def has_space(self, domain: bytes, factor: int = 2) -> bool:
            return domain in self.free

    channel = harness.scheduler.channels[REMOTE]
    monkeypatch.setattr(channel, "room", Room())
    resumed: list[object] = []
    monkeypatch.setattr(harness.scheduler, "_enqueue_remote", lambda channel, job, record, now: resumed.append(record))
    records = [(0, b"T"[0], b"a@full.example"), (9, b"T"[0], b"b@Free.example")]
    channel.stalled.extend((cast(Job, object()), record) for record in records)
    for _ in range(2):
        harness.scheduler._read_on(channel, NOW)
    assert resumed == records[1:] and [record for _, record in channel.stalled] == records[:1]
    Room.free.add(b"full.example")
    assert harness.scheduler._read_on(channel, NOW)
    assert resumed == records[::-1] and not channel.stalled
