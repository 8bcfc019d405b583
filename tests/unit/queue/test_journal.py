"""The journal: what is committed comes back, what is torn does not, and the ring turns."""

import os
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.queue.format import journal as form
from eqmail_core.queue.format import journal_reading
from eqmail_core.queue.format.journal_damage import describe_damage
from eqmail_core.queue.service.accepted_message import AcceptedMessage
from eqmail_core.queue.service.journal import Journal
from tests.support.simulated_disk import SimDisk

FOLDER = "q/journal"
SIZE = 4096


def fresh(disk: SimDisk) -> tuple[Journal, list[AcceptedMessage]]:
    journal = Journal(disk, FOLDER, SIZE)
    found = journal.replay(1)
    return journal, found


def message(journal: Journal, body: bytes = b"body", envelope: bytes = b"Fa\0Tb\0") -> AcceptedMessage:
    it = AcceptedMessage(4711, 1, 2, 3, envelope, body, len(body))
    it.serial = journal.next_serial
    journal.next_serial += 1
    return it


def commit(journal: Journal, messages: list[AcceptedMessage], ended: list[AcceptedMessage]) -> None:
    for it, segment in journal.commit(messages, [one.serial for one in ended]):
        journal.is_recorded(it, segment)
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


def test_the_ring_reuses_two_segments_when_messages_end() -> None:
    disk = SimDisk([FOLDER])
    journal, _ = fresh(disk)
    journal.prepare()
    last: list[AcceptedMessage] = []
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
    assert journal.messages_to_move() is stays.segment
    commit(journal, [stays], [])
    for _ in range(60):
        it = message(journal, b"x" * 300)
        commit(journal, [it], [])
        commit(journal, [], [it])
        if journal.messages_to_move() is stays.segment:
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
    assert journal.messages_to_move() is segment
    commit(journal, [kept], [])
    last: list[AcceptedMessage] = []
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


def segment_of(commits: list[list[bytes]], epoch: int = 9, before: bytes = b"") -> tuple[bytearray, list[int]]:
    """A segment with these bodies, and where each record begins; `before` is what an earlier use left in it."""
    text, crc = form.header(epoch, 1)
    starts, serial = [], 0
    for bodies in commits:
        for index, body in enumerate(bodies):
            serial += 1
            starts.append(len(text))
            head, crc = form.record(
                form.RECORD, serial, 5, 6, 7, 8, b"Fa\0Tb\0", body, crc, epoch=epoch, begins=index == 0
            )
            text += head + body
    return bytearray(text + before[len(text) :].ljust(SIZE - len(text), b"\0")), [*starts, len(text)]


def read(data: bytearray, nearby: int = 9) -> tuple[list[int], list[tuple[int, int, bool]]]:
    reading = journal_reading.read(memoryview(bytes(data)), nearby)
    if reading is None:
        return [], []
    assert reading.epoch == 9
    damages = [(it.start, it.end, it.is_certain) for it in reading.damages]
    return [it.serial for it in reading.entries], damages


SINGLES = [[b"%d" % count * 100] for count in range(1, 9)]
PLACES = {
    "checksum": 0,
    "kind": 4,
    "link": 5,
    "envelope length": 8,
    "body length": 13,
    "serial": 16,
    "envelope": 45,
    "body": 99,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("index", range(7))
def test_a_flipped_bit_costs_its_record_and_nothing_behind_it(place: str, index: int) -> None:
    data, starts = segment_of(SINGLES, before=bytes(segment_of(SINGLES, epoch=8)[0]))
    data[starts[index] + PLACES[place]] ^= 2
    serials, damages = read(data)
    lost = [] if place == "checksum" else [index + 1]
    assert serials == [serial for serial in range(1, 9) if serial not in lost]
    assert damages == [(starts[index], starts[index] + 4 if not lost else starts[index + 1], True)]


@pytest.mark.parametrize("place", range(form.HEADER_SIZE))
@pytest.mark.parametrize("commits", [SINGLES, SINGLES[:1]], ids=["many", "one"])
def test_a_damaged_header_costs_nothing(place: int, commits: list[list[bytes]]) -> None:
    data, _ = segment_of(commits, before=bytes(segment_of(SINGLES, epoch=8)[0]))
    data[place] ^= 16
    assert read(data, nearby=10) == (list(range(1, len(commits) + 1)), [(0, form.HEADER_SIZE, True)])


def test_a_lost_sector_costs_what_it_covers() -> None:
    data, starts = segment_of(SINGLES)
    data[:512] = bytes(512)
    first = next(index for index, start in enumerate(starts) if start >= 512)
    serials, damages = read(data)
    assert serials == list(range(first + 1, 9))
    assert damages == [(0, form.HEADER_SIZE, True), (form.HEADER_SIZE, starts[first], True)]


def test_a_torn_tail_is_no_damage_and_older_records_behind_it_do_not_count() -> None:
    older = bytes(segment_of(SINGLES, epoch=8)[0])
    for cut in range(1, 160, 7):
        data, starts = segment_of(SINGLES[:3], before=older)
        data[starts[2] + cut :] = older[starts[2] + cut :]
        serials, damages = read(data)
        assert serials[:2] == [1, 2] and serials in ([1, 2], [1, 2, 3])
        assert not any(certain for _, _, certain in damages)


def test_what_a_commit_left_behind_a_torn_record_of_its_own_counts_and_is_no_damage() -> None:
    data, starts = segment_of([[b"1" * 100], [b"2" * 100, b"3" * 100, b"4" * 100]])
    data[starts[1] + 80] ^= 1
    assert read(data) == ([1, 3, 4], [(starts[1], starts[2], False)])


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=300))
def test_damage_of_any_kind_loses_only_records_that_it_touches(place: int, garbage: bytes) -> None:
    data, starts = segment_of(SINGLES)
    was = bytes(data)
    data[place : place + len(garbage)] = garbage
    touched = {
        index + 1
        for index in range(8)
        if was[starts[index] : starts[index + 1]] != bytes(data[starts[index] : starts[index + 1]])
    }
    serials, _ = read(data)
    assert set(serials) >= set(range(1, 9)) - touched
    assert all(serial in range(1, 9) for serial in serials)


def test_a_damaged_segment_is_read_reported_and_kept() -> None:
    disk = SimDisk([FOLDER])
    journal, _ = fresh(disk)
    journal.prepare()
    messages = [message(journal, b"%d" % count * 50) for count in range(1, 9)]
    for it in messages:
        commit(journal, [it], [])
    path = messages[0].segment.path  # type: ignore[union-attr]
    data = bytearray(disk.content(path) or b"")
    data[data.index(b"4" * 50) + 10] ^= 1
    fd = disk.open(path, os.O_RDWR)
    disk.write_at(fd, [bytes(data)], 0)
    disk.sync(fd)
    again, found = fresh(disk)
    assert [it.serial for it in found] == [1, 2, 3, 5, 6, 7, 8]
    assert [(it.path, it.intact, len(it.damages)) for it in again.damaged] == [(path, 7, 1)]
    commit(again, [message(again)], [])
    assert again.messages_to_move() is found[0].segment
    commit(again, found, [])
    last: list[AcceptedMessage] = []
    for _ in range(60):
        it = message(again, b"x" * 300)
        commit(again, [it], last)
        last = [it]
    kept = [name for name, _ in disk.entries(FOLDER) if name.startswith("damaged.")]
    assert len(kept) == 1 and disk.content(f"{FOLDER}/{kept[0]}") == bytes(data)
    assert {it.serial for it in fresh(disk)[1]} >= {1, 2, 3, 5, 6, 7, 8}


def test_a_stop_keeps_a_damaged_segment() -> None:
    disk = SimDisk([FOLDER])
    journal, _ = fresh(disk)
    for _ in range(3):
        commit(journal, [message(journal)], [])
    path = f"{FOLDER}/segment.0"
    fd = disk.open(path, os.O_RDWR)
    disk.write_at(fd, [b"\xff"], 3)
    again, found = fresh(disk)
    assert len(found) == 3
    again.empty()
    names = [name for name, _ in disk.entries(FOLDER)]
    assert [name for name in names if name.startswith("damaged.")] and "segment.0" not in names


def overwrite(disk: SimDisk, path: str, offset: int, data: bytes) -> None:
    fd = disk.open(path, os.O_RDWR)
    disk.write_at(fd, [data], offset)
    disk.sync(fd)
    disk.close(fd)


def filled(count: int = 4) -> tuple[SimDisk, str]:
    """A disk whose journal has so many messages in its newest segment, and the path of that."""
    disk = SimDisk([FOLDER])
    journal, _ = fresh(disk)
    journal.prepare()
    messages = [message(journal, b"%d" % index * 50) for index in range(1, count + 1)]
    for it in messages:
        commit(journal, [it], [])
    assert messages[0].segment is not None
    return disk, messages[0].segment.path


def cut(disk: SimDisk, path: str, size: int) -> None:
    data = disk.content(path) or b""
    disk.make_empty(path)
    overwrite(disk, path, 0, data[:size])


def second_record(disk: SimDisk, path: str, offset: int = 0) -> int:
    return (disk.content(path) or b"").index(b"2" * 50) - len(b"Fa\0Tb\0") - form.OVERHEAD + offset


DAMAGES: dict[str, tuple[Callable[[SimDisk, str], object], int, str]] = {
    "empty": (lambda disk, path: disk.make_empty(path), 0, "is empty: every message that waited in it is lost"),
    "zeros": (
        lambda disk, path: overwrite(disk, path, 0, bytes(SIZE)),
        0,
        "holds zeros only (4096 bytes): every message that waited in it is lost",
    ),
    "garbage": (
        lambda disk, path: overwrite(disk, path, 0, b"?" * SIZE),
        0,
        "one damaged place (4096 bytes, the first at offset 0): no record can be read; what stood there is lost",
    ),
    "cut off": (lambda disk, path: cut(disk, path, 300), 2, "is cut off after 300 bytes: what stood behind is lost"),
    "cut off between records": (
        lambda disk, path: cut(disk, path, second_record(disk, path)),
        1,
        "is cut off after 128 bytes: what stood behind is lost",
    ),
    "header": (
        lambda disk, path: overwrite(disk, path, 3, b"?"),
        4,
        "one damaged place (28 bytes, the first at offset 0), in its header or in checksums: nothing is lost, "
        "4 records are read",
    ),
    "checksum": (
        lambda disk, path: overwrite(disk, path, second_record(disk, path), b"????"),
        4,
        "one damaged place (4 bytes, the first at offset 128), in its header or in checksums: nothing is lost, "
        "4 records are read",
    ),
    "record": (
        lambda disk, path: overwrite(disk, path, second_record(disk, path, 60), b"?"),
        3,
        "(100 bytes, the first at offset 128): what stood there is lost",
    ),
    "header and record": (
        lambda disk, path: (overwrite(disk, path, 3, b"?"), overwrite(disk, path, second_record(disk, path, 60), b"?")),
        3,
        "2 damaged places (128 bytes, the first at offset 0): what stood there is lost",
    ),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_each_kind_of_damage_is_reported_with_its_loss(kind: str) -> None:
    do, intact, text = DAMAGES[kind]
    disk, path = filled()
    do(disk, path)
    again, found = fresh(disk)
    assert len(found) == intact
    (damaged,) = again.damaged
    weight, reason = describe_damage(damaged)
    assert weight == "alert" and reason.startswith(f"{path}: ") and text in reason
    assert ("lost" in reason.replace("nothing is lost", "")) == (intact < 4)
    # It is never written again, and later starts report it only while some of it is needed.
    again.prepare()
    last = found
    for _ in range(60):
        it = message(again, b"x" * 300)
        commit(again, [it], last)
        last = [it]
    assert not fresh(disk)[0].damaged


def test_a_torn_tail_is_a_warning() -> None:
    disk, path = filled()
    last = (disk.content(path) or b"").index(b"4" * 50)
    overwrite(disk, path, last, bytes(50))
    weight, reason = describe_damage(fresh(disk)[0].damaged[0])
    assert weight == "warning" and "cut short by a crash" in reason


@pytest.mark.parametrize("survives", [lambda most: 0, lambda most: most], ids=["nothing", "everything"])
def test_a_segment_whose_making_is_cut_short_at_any_moment_is_no_damage(survives: Callable[[int], int]) -> None:
    class Cut(Exception):
        pass

    def stop() -> None:
        if disk.operations == limit:
            raise Cut

    limit = 0
    while True:
        limit += 1
        disk = SimDisk([FOLDER])
        journal, _ = fresh(disk)
        disk.on_operation = stop
        try:
            journal.prepare()
            break
        except Cut:
            disk.on_operation = lambda: None
        for next_boot in (disk.copy(), disk.after_power_cut(survives)):
            again, found = fresh(next_boot)
            assert not again.damaged and not found
            again.prepare()
            assert segments(next_boot) == 2
    assert limit > 8
