"""The journal: what is committed comes back, what is torn does not, and the ring turns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.formats import journal as form
from eqmail_core.store.journal import Journal
from eqmail_core.store.message import Message
from tests.crash.sim_disk import SimDisk

FOLDER = "q/journal"
SIZE = 4096


def fresh(disk: SimDisk) -> tuple[Journal, list[Message]]:
    journal = Journal(disk, FOLDER, SIZE)
    found = journal.replay(1)
    return journal, found


def message(journal: Journal, body: bytes = b"body", envelope: bytes = b"Fa\0Tb\0") -> Message:
    it = Message(4711, 1, 2, 3, envelope, body, len(body))
    it.serial = journal.next_serial
    journal.next_serial += 1
    return it


def commit(journal: Journal, messages: list[Message], ended: list[Message]) -> None:
    for it, segment in journal.commit(messages, [one.serial for one in ended]):
        journal.stands(it, segment)
    for one in ended:
        journal.release(one)


def segments(disk: SimDisk) -> int:
    return len(disk.entries(FOLDER))


def test_a_message_comes_back_as_it_was() -> None:
    disk = SimDisk([FOLDER])
    journal, _ = fresh(disk)
    small, large = message(journal), message(journal)
    large.body, large.size, large.crc = None, 70000, 99
    commit(journal, [small, large], [])
    again, found = fresh(disk)
    assert [(it.serial, it.number, it.birth, it.uid, it.qp, it.envelope) for it in found] == [
        (it.serial, 4711, 1, 2, 3, b"Fa\0Tb\0") for it in (small, large)
    ]
    assert [(it.body, it.size) for it in found] == [(b"body", 4), (None, 70000)]
    assert found[1].crc == 99
    assert again.next_serial > large.serial


def test_what_has_a_tombstone_does_not_come_back() -> None:
    disk = SimDisk([FOLDER])
    journal, _ = fresh(disk)
    one, two = message(journal), message(journal)
    commit(journal, [one, two], [])
    commit(journal, [], [one])
    assert [it.serial for it in fresh(disk)[1]] == [two.serial]


def test_a_later_record_replaces_an_earlier_one() -> None:
    disk = SimDisk([FOLDER])
    journal, _ = fresh(disk)
    it = message(journal)
    commit(journal, [it], [])
    it.number = 4712
    commit(journal, [it], [])
    assert [one.number for one in fresh(disk)[1]] == [4712]


def test_the_ring_turns_in_two_segments_when_messages_end() -> None:
    disk = SimDisk([FOLDER])
    journal, _ = fresh(disk)
    journal.prepare()
    last: list[Message] = []
    for _ in range(200):
        it = message(journal, b"x" * 300)
        commit(journal, [it], last)
        last = [it]
    assert segments(disk) == 2
    assert [it.serial for it in fresh(disk)[1]] == [last[0].serial]


def test_a_message_that_stays_makes_the_ring_longer_until_it_is_recorded_anew() -> None:
    disk = SimDisk([FOLDER])
    journal, _ = fresh(disk)
    stays = message(journal)
    commit(journal, [stays], [])
    for _ in range(60):
        it = message(journal, b"x" * 300)
        commit(journal, [it], [])
        commit(journal, [], [it])
    assert segments(disk) > 2
    assert journal.crowding() is stays.segment
    commit(journal, [stays], [])
    for _ in range(60):
        it = message(journal, b"x" * 300)
        commit(journal, [it], [])
        commit(journal, [], [it])
        if journal.crowding() is stays.segment:
            commit(journal, [stays], [])
    assert segments(disk) <= 3
    assert [it.serial for it in fresh(disk)[1]] == [stays.serial]


def test_a_full_disk_refuses_messages_and_takes_tombstones() -> None:
    disk = SimDisk([FOLDER])
    journal = Journal(disk, FOLDER, 16 * SIZE)
    journal.replay(1)
    journal.prepare()
    disk.is_full = True
    kept = []
    with pytest.raises(OSError, match="full"):
        for _ in range(1000):
            it = message(journal, b"x" * 1000)
            commit(journal, [it], [])
            kept.append(it)
    assert len(kept) > 15
    commit(journal, [], kept)
    again = message(journal)
    commit(journal, [again], [])
    assert [it.serial for it in fresh(disk)[1]] == [again.serial]


def test_an_emptied_journal_is_empty_and_remembers_its_serials() -> None:
    disk = SimDisk([FOLDER])
    journal, _ = fresh(disk)
    for _ in range(40):
        commit(journal, [message(journal, b"x" * 300)], [])
    journal.empty()
    again, found = fresh(disk)
    assert found == []
    assert again.next_serial == journal.next_serial
    assert segments(disk) == 2


def test_what_is_acknowledged_after_a_failed_flush_is_there_after_a_power_cut() -> None:
    disk = SimDisk([FOLDER])
    journal, _ = fresh(disk)
    journal.prepare()
    before = message(journal, b"before")
    commit(journal, [before], [])
    disk.fails_flush = lambda: True
    for size in (10, 300, 900):
        with pytest.raises(OSError, match="input/output"):
            commit(journal, [message(journal, b"x" * size)], [])
    disk.fails_flush = lambda: False
    after = [message(journal, b"after")]
    for it in after:
        commit(journal, [it], [])
    for survives in (lambda most: 0, lambda most: most):
        serials = {it.serial for it in fresh(disk.after_power_cut(survives))[1]}
        assert {before.serial, *(it.serial for it in after)} <= serials


def test_a_segment_whose_flush_failed_is_never_written_again() -> None:
    disk = SimDisk([FOLDER])
    journal, _ = fresh(disk)
    journal.prepare()
    kept = message(journal, b"kept")
    commit(journal, [kept], [])
    segment = kept.segment
    assert segment is not None
    disk.fails_flush = lambda: True
    with pytest.raises(OSError, match="input/output"):
        commit(journal, [message(journal)], [])
    disk.fails_flush = lambda: False
    content = disk.content(segment.path)
    commit(journal, [message(journal)], [])
    assert journal.crowding() is segment
    commit(journal, [kept], [])
    last: list[Message] = []
    for _ in range(60):
        assert disk.content(segment.path) in (content, None) or segment not in journal._segments
        it = message(journal, b"x" * 300)
        commit(journal, [it], last)
        last = [it]
    assert segment not in journal._segments
    assert kept.serial in {it.serial for it in fresh(disk.after_power_cut(lambda most: 0))[1]}


def test_flushes_that_go_on_failing_do_not_make_the_journal_longer() -> None:
    disk = SimDisk([FOLDER])
    journal, _ = fresh(disk)
    journal.prepare()
    kept = message(journal)
    commit(journal, [kept], [])
    disk.fails_flush = lambda: True
    for _ in range(50):
        with pytest.raises(OSError, match="input/output"):
            commit(journal, [message(journal, b"x" * 900)], [])
    assert segments(disk) <= 3


@given(st.integers(0, 3000), st.integers(0, 255))
def test_a_damaged_byte_hides_its_record_and_all_behind_it_and_nothing_else(place: int, value: int) -> None:
    text, crc = form.header(1, 1)
    ends = []
    for serial in range(1, 9):
        head, crc = form.record(form.RECORD, serial, 5, 6, 7, 8, b"Fa\0", b"y" * 300, crc)
        text += head + b"y" * 300
        ends.append(len(text))
    data = bytearray(text.ljust(4096, b"\0"))
    data[place] = value
    damaged = bytes(data[: ends[-1]]) != text
    known = form.split_header(bytes(data))
    serials = [it.serial for it in form.scan(memoryview(data), known[2])] if known else []
    intact = sum(end <= place for end in ends) if damaged else len(ends)
    assert serials == list(range(1, (intact if place >= form.HEADER_SIZE or not damaged else 0) + 1))
