"""Remote mail waits for its destination without a place, and so delays no other."""

from pathlib import Path

import pytest

from eqmail_core.queue.format.channels import HELD_UNTIL, REMOTE
from eqmail_core.scheduler.destination_queues import MAX_WAIT_S, DestinationQueues
from tests.support.scheduler_harness import Stage
from tests.unit.scheduler.test_destination import NOBODY, YES


def staged(path: Path, limit: int = 20, room: int = 20_000) -> Stage:
    stage = Stage(path, limits=(10, limit))
    stage.scheduler.channels[REMOTE].room = DestinationQueues(limit, None, room)
    return stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return staged(tmp_path)


def old(stage: Stage, number: int, *recipients: str, age_s: int = 0) -> None:
    stage.old(number, b"s@x.org", age_s=age_s, remote=b"".join(b"T%b\0" % it.encode() for it in recipients))
    stage.scheduler.enqueue(number, REMOTE, int(stage.now))


def rest(stage: Stage) -> None:
    """Let the scheduler alone act until it wants to no more."""
    while stage.scheduler.pump(stage.now):
        pass


def end(stage: Stage, domain: str, report: tuple[bytes, bytes] = YES) -> int:
    """End all deliveries to a domain that run; how many there were."""
    mine = [it for it in stage.running if it.endswith(b"@" + domain.encode())]
    for recipient in mine:
        stage.report(recipient, *report)
    return len(mine)


def test_a_dead_destination_with_thousands_of_messages_delays_nobody(stage: Stage) -> None:
    for number in range(1, 2001):
        old(stage, number, f"r{number}@dead.org")
    for number in range(3001, 3101):
        old(stage, number, f"r{number}@live.org")
    rest(stage)
    assert sum(it.endswith(b"@dead.org") for it in stage.running) == 5
    delivered = 0
    while count := end(stage, "live.org"):
        delivered += count
        rest(stage)
    assert delivered == 100
    # Once the destination is dead all that waits is deferred at once, and follows its schedule.
    assert end(stage, "dead.org", NOBODY) == 5
    rest(stage)
    assert not stage.running
    assert len(stage.scheduler.channels[REMOTE].due) == 2000
    lines = stage.lines()
    assert sum("deferral: Left_alone_for_now,_after:_Sorry" in line for line in lines) == 1995


def test_a_message_for_two_destinations_waits_for_one_of_them_only(stage: Stage) -> None:
    stage.admit(1, b"Fs@x.org\0" + b"".join(b"Tr%d@slow.org\0" % it for it in range(6)) + b"Ta@live.org\0")
    stage.turn()
    assert b"a@live.org" in stage.running
    assert b"r5@slow.org" not in stage.running
    end(stage, "live.org")
    end(stage, "slow.org")
    stage.turn()
    assert stage.running == [b"r5@slow.org"]
    end(stage, "slow.org")
    stage.turn()
    assert stage.lines()[-1] == "end msg 1"


def test_places_in_the_envelope_stay_right_whatever_waits(stage: Stage) -> None:
    stage.admit(1, b"Fs@x.org\0" + b"".join(b"Tr%d@slow.org\0" % it for it in range(9)) + b"Ta@live.org\0")
    stage.turn()
    places = {it.recipient: it.recipient_index for it, _ in stage.remote.orders}
    assert places[b"a@live.org"] == 9
    end(stage, "slow.org")
    stage.turn()
    places |= {it.recipient: it.recipient_index for it, _ in stage.remote.orders}
    assert {places[b"r%d@slow.org" % it] for it in range(9)} == set(range(9))


def test_who_waited_in_vain_is_deferred_and_can_grow_too_old(tmp_path: Path) -> None:
    stage = Stage(tmp_path, limits=(10, 20), lifetime_s=1000)
    stage.scheduler.channels[REMOTE].room = DestinationQueues(20)
    for number in range(1, 7):
        old(stage, number, f"r{number}@slow.org", age_s=2000)
    stage.turn()
    assert len(stage.running) == 5
    stage.turn(MAX_WAIT_S)
    assert len(stage.running) == 5
    assert any("failure: Too_much_mail_for_this_destination" in line for line in stage.lines())


def test_a_message_in_memory_that_waits_goes_to_the_disk_and_is_delivered_from_there(stage: Stage) -> None:
    serial = stage.admit(1, b"Fs@x.org\0" + b"".join(b"Tr%d@slow.org\0" % it for it in range(6)))
    stage.turn()
    stage.turn(2.0)
    assert stage.keeper.told == [("waits", serial)]
    stage.written(serial, 1)
    assert stage.files(1)["remote"] == b"".join(b"Tr%d@slow.org\0" % it for it in range(6))
    end(stage, "slow.org")
    stage.turn()
    assert stage.running == [b"r5@slow.org"]
    end(stage, "slow.org")
    stage.turn()
    assert stage.files(1) == {}


def test_where_there_is_no_room_a_message_comes_back(tmp_path: Path) -> None:
    stage = staged(tmp_path, room=30)
    for number in range(1, 101):
        old(stage, number, f"r{number}@dead.org", f"s{number}@live.org", age_s=4000)
    rest(stage)
    while end(stage, "live.org"):
        rest(stage)
    # 15 wait or are tried; the others come back after a quarter of their age or ten minutes.
    dues = [due - int(stage.now) for _, due in stage.scheduler.channels[REMOTE].due]
    assert 80 <= len(dues) <= 90
    assert set(dues) == {600}
    # Nobody at the dead destination has been forgotten.
    for number in range(1, 101):
        assert stage.files(number)["remote"].startswith(b"Tr%d@dead.org\0" % number)


def test_a_long_list_for_one_destination_is_read_on_as_it_takes_mail(tmp_path: Path) -> None:
    stage = staged(tmp_path, room=60)
    old(stage, 1, "first@big.org")
    stage.turn()
    end(stage, "big.org")
    stage.turn()
    old(stage, 2, *[f"r{number}@big.org" for number in range(500)])
    stage.turn()
    assert stage.scheduler.channels[REMOTE].stalled
    old(stage, 3, "a@live.org")
    stage.turn()
    assert b"a@live.org" in stage.running
    end(stage, "live.org")
    delivered = 0
    while count := end(stage, "big.org"):
        delivered += count
        stage.turn()
    assert delivered == 500
    assert not stage.scheduler.channels[REMOTE].due
    assert stage.files(2) == {}


def test_a_message_can_be_held_while_it_waits(stage: Stage) -> None:
    for number in range(1, 8):
        old(stage, number, f"r{number}@slow.org")
    stage.turn()
    waiting = next(number for number in range(1, 8) if b"r%d@slow.org" % number not in stage.running)
    job = stage.scheduler.channels[REMOTE].open[waiting]
    job.retry = HELD_UNTIL
    assert stage.scheduler.suspend_message(waiting) == []
    assert stage.due_of(REMOTE, waiting) == [HELD_UNTIL - int(stage.now)]
    end(stage, "slow.org")
    stage.turn()
    assert b"r%d@slow.org" % waiting not in stage.running


def test_at_the_end_those_who_wait_are_left_on_the_disk(stage: Stage) -> None:
    for number in range(1, 8):
        old(stage, number, f"r{number}@slow.org")
    serial = stage.admit(9, b"Fs@x.org\0Tr9@slow.org\0")
    stage.turn()
    assert len(stage.running) == 5
    stage.scheduler.exit()
    stage.spilling.exit()
    assert sum(due == int(stage.now) for _, due in stage.scheduler.channels[REMOTE].due) == 3
    assert stage.keeper.told == [("waits", serial)]
    end(stage, "slow.org")
    stage.turn()
    assert stage.scheduler.idle


def test_alrm_tries_dead_destinations_again(stage: Stage) -> None:
    for number in range(1, 7):
        old(stage, number, f"r{number}@dead.org")
    stage.turn()
    end(stage, "dead.org", NOBODY)
    stage.turn()
    assert not stage.running
    stage.scheduler.retry_all()
    stage.turn()
    assert len(stage.running) == 5


def test_two_long_lists_are_both_read_on(tmp_path: Path) -> None:
    stage = staged(tmp_path, room=60)
    for number, domain in ((1, "big.org"), (2, "large.net")):
        old(stage, number, f"first@{domain}")
    stage.turn()
    for domain in ("big.org", "large.net"):
        end(stage, domain)
    stage.turn()
    for number, domain in ((3, "big.org"), (4, "large.net")):
        old(stage, number, *[f"r{count}@{domain}" for count in range(300)])
    stage.turn()
    assert len(stage.scheduler.channels[REMOTE].stalled) == 2
    for domain in ("large.net", "big.org"):
        delivered = 0
        while count := end(stage, domain):
            delivered += count
            stage.turn()
        assert delivered == 300, f"{domain} takes mail, whatever the other does"
    assert stage.files(3) == stage.files(4) == {}
