"""The keeper: when messages become files, what a full disk does, who may have a number."""

import os
import random
from collections.abc import Callable

import pytest

from eqmail_core.queue.format.envelope import parse_todo
from eqmail_core.queue.service import message_store as keeper_module
from eqmail_core.queue.service.accepted_message import AcceptedMessage
from eqmail_core.queue.service.file_writer import QUEUED, FileWrite, place
from eqmail_core.queue.service.message_store import LIVE
from tests.support.simulated_disk import SimDisk
from tests.support.simulated_queue import FOLDERS, PATHS, House, World

DICE = random.Random(7)


@pytest.fixture
def house() -> House:
    return House(SimDisk(FOLDERS, ordered=True), World())


def submit(house: House, *bodies: bytes, in_file: bool = False) -> None:
    for body in bodies:
        house.submit(body, [b"r@x"], in_file)


def settle(house: House) -> None:
    house.stage.settle(DICE, timers=False)


def test_without_a_scheduler_a_message_becomes_files(house: House) -> None:
    submit(house, b"one\n")
    submit(house, b"long\n", in_file=True)
    settle(house)
    assert house.world.acknowledged == {b"one\n", b"long\n"}
    numbers = house.numbers("todo")
    assert len(numbers) == 2 and numbers == house.numbers("mess") == house.numbers("intd")
    todo = parse_todo(house.disk.content(PATHS.todo(numbers[0])) or b"")
    assert (todo.uid, todo.pid, todo.sender, todo.recipients) == (2, 3, b"s@x", [b"r@x"])
    assert all(house.disk.status(PATHS.mess(number))[0] == number for number in numbers)  # type: ignore[index]


def test_a_message_that_is_delivered_at_once_never_becomes_a_file(house: House) -> None:
    house.keeper.scheduler_connected(house, set())
    submit(house, b"one\n")
    submit(house, b"long\n", in_file=True)
    settle(house)
    assert house.world.acknowledged == {b"one\n", b"long\n"}
    for message in house.admitted:
        house.finish(message)
    house.stage.settle(DICE)
    assert house.keeper.held == 0
    assert not house.numbers("mess") and not house.numbers("todo")
    assert sum(len(house.disk.content(path) or b"") for path in house.disk.paths() if "/pid/" in path) == 0


def test_more_than_the_memory_allows_becomes_files() -> None:
    house = House(SimDisk(FOLDERS, ordered=True), World(), budget=1000)
    house.keeper.scheduler_connected(house, set())
    submit(house, *(b"%d " % count * 100 for count in range(8)))
    settle(house)
    assert len(house.world.acknowledged) == 8
    assert 1 <= len(house.admitted) < 8
    assert len(house.admitted) + len(house.numbers("todo")) == 8


def test_an_envelope_too_long_for_a_packet_goes_through_todo(house: House) -> None:
    house.keeper.scheduler_connected(house, set())
    house.submit(b"to many\n", [b"recipient%d@example.org" % count for count in range(4000)], in_file=False)
    settle(house)
    assert not house.admitted
    assert len(house.numbers("todo")) == 1


def test_a_number_is_not_given_out_before_the_tombstone_is_on_the_disk(house: House) -> None:
    house.keeper.scheduler_connected(house, set())
    submit(house, b"one\n")
    settle(house)
    number = house.admitted[0].number
    house.finish(house.admitted[0])
    settle(house)
    taken = {house.keeper.take_number() for _ in range(300)}
    assert number not in taken
    house.stage.settle(DICE)
    taken = {house.keeper.take_number() for _ in range(600)}
    assert number in taken


def test_cleaning_waits_for_the_tombstone_and_keeps_its_order(house: House) -> None:
    house.keeper.scheduler_connected(house, set())
    submit(house, b"one\n")
    settle(house)
    message = house.admitted[0]
    house.let_wait(message)
    settle(house)
    assert house.disk.exists(PATHS.mess(message.number))
    answers: list[tuple[str, bytes]] = []

    def note(name: str) -> Callable[[bytes], None]:
        return lambda answer: answers.append((name, answer))

    house.keeper.clean(b"foop/%d" % message.number, note("mine"))
    house.keeper.clean(b"foop/999999", note("other"))
    house.stage.settle(DICE)
    assert answers == [("mine", b"+"), ("other", b"+")]
    assert not house.disk.exists(PATHS.mess(message.number))


def test_nobody_can_remove_what_the_journal_counts_on(house: House) -> None:
    house.keeper.scheduler_connected(house, set())
    submit(house, b"one\n")
    settle(house)
    answers: list[bytes] = []
    house.keeper.clean(b"foop/%d" % house.admitted[0].number, answers.append)
    settle(house)
    assert answers == [b"!"]


def test_a_full_disk_refuses_and_loses_nothing_and_goes_on(house: House) -> None:
    house.keeper.scheduler_connected(house, set())
    submit(house, b"before\n")
    settle(house)
    house.disk.is_full = True
    bodies = [b"%d " % count * 300 for count in range(40)]
    submit(house, *bodies)
    settle(house)
    world = house.world
    assert world.acknowledged | world.refused == set(world.sent)
    assert b"before\n" in world.acknowledged and world.refused
    house.disk.is_full = False
    house.stage.settle(DICE)
    submit(house, b"after\n")
    settle(house)
    assert b"after\n" in world.acknowledged
    house.finish_all(DICE)
    assert not world.missing()
    house.stop(DICE)
    assert not house.numbers("mess")


def test_what_no_disk_would_take_stays_in_the_journal_for_the_next_start(house: House) -> None:
    house.keeper.scheduler_connected(house, set())
    submit(house, b"one\n")
    settle(house)
    house.disk.is_full = True
    house.stop(DICE)
    assert house.keeper.held == 1
    house.disk.is_full = False
    again = House(house.disk, house.world)
    assert again.found.live == 1
    again.finish_all(DICE)
    assert not again.world.missing()


def test_a_stop_leaves_a_plain_queue(house: House) -> None:
    house.keeper.scheduler_connected(house, set())
    submit(house, b"one\n", b"two\n")
    submit(house, b"long\n", in_file=True)
    settle(house)
    house.let_wait(house.admitted[0])
    house.stop(DICE)
    assert house.keeper.held == 0
    assert not [path for path in house.disk.paths() if "/pid/" in path]
    assert not house.faults()
    again = House(house.disk, house.world)
    assert (again.found.live, again.found.queued, again.found.renumbered) == (0, 0, 0)
    again.finish_all(DICE)
    assert not again.world.missing()


def test_a_scheduler_that_comes_back_gets_what_it_does_not_hold(house: House) -> None:
    house.keeper.scheduler_connected(house, set())
    submit(house, b"one\n", b"two\n")
    settle(house)
    one, two = house.admitted
    house.keeper.scheduler_disconnected(house)

    class Other:
        def __init__(self) -> None:
            self.admitted: list[int] = []

        def admit(self, message: object) -> None:
            self.admitted.append(message.serial)  # type: ignore[attr-defined]

    other = Other()
    house.keeper.scheduler_connected(other, {one.serial})
    assert other.admitted == [two.serial]
    assert one.state == LIVE


def test_a_number_that_somebody_else_got_is_replaced() -> None:
    disk, world = SimDisk(FOLDERS, ordered=True), World()
    house = House(disk, world)
    house.keeper.scheduler_connected(house, set())
    submit(house, b"one\n")
    settle(house)
    number = house.admitted[0].number
    # the files of the pool are removed by a foreign sweep, and the number comes back with another's message
    for path in [path for path in disk.paths() if "/pid/" in path]:
        disk.unlink(path)
    fd = disk.open("q/pid/foreign", 0o301)
    while disk.inode(fd) != number:
        disk.close(fd)
        fd = disk.open(f"q/pid/foreign{disk.operations}", 0o301)
    disk.link(next(f"q/pid/{name}" for name, inode in disk.entries("q/pid") if inode == number), PATHS.mess(number))
    again = House(disk, world)
    assert (again.found.live, again.found.renumbered) == (0, 1)
    again.finish_all(DICE)
    assert not world.missing()
    assert disk.content(PATHS.mess(number)) == b""


def test_the_setting_for_files_makes_files_although_a_scheduler_is_there() -> None:
    house = House(SimDisk(FOLDERS, ordered=True), World(), goes_direct=True)
    house.keeper.scheduler_connected(house, set())
    submit(house, b"one\n")
    settle(house)
    assert len(house.numbers("todo")) == 1 and not house.admitted


def test_the_stock_of_numbers_does_not_grow_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "POOL_LOW", 0)
    house.keeper.scheduler_connected(house, set())
    for _ in range(4):
        submit(house, *(b"%d\n" % count for count in range(300)))
        settle(house)
        for message in house.admitted:
            house.keeper.delivered(message.serial)
        house.admitted.clear()
    house.stage.settle(DICE)
    assert len([path for path in house.disk.paths() if "/pid/" in path]) <= 512 + 192


# Queues whose numbers are not inode numbers: copied or restored ones.


def restored(disk: SimDisk) -> SimDisk:
    """The same files in another order on another file system, as tar makes them."""
    other = SimDisk(FOLDERS, ordered=True)
    for path in sorted(disk.paths(), key=lambda path: path[::-1]):
        fd = other.open(path, os.O_WRONLY | os.O_CREAT)
        other.write(fd, disk.content(path) or b"")
        other.sync(fd)
        other.close(fd)
    return other


def test_a_queue_whose_numbers_are_not_inodes_loses_nothing_when_new_mail_comes(house: House) -> None:
    bodies = [b"waits %d\n" % count for count in range(20)]
    submit(house, *bodies)
    settle(house)
    again = House(restored(house.disk), house.world)
    assert again.found.misnumbered == 20
    submit(again, *(b"new %d\n" % count for count in range(60)))
    settle(again)
    assert len(again.world.acknowledged) == 80 and len(again.numbers("todo")) == 80
    again.finish_all(DICE)
    assert not again.world.missing()


def test_a_restored_journal_finds_its_bodies_under_their_new_numbers(house: House) -> None:
    house.keeper.scheduler_connected(house, set())
    submit(house, *(b"short %d\n" % count for count in range(9)))
    for count in range(9):
        submit(house, b"long %d\n" % count, in_file=True)
    settle(house)
    for message in house.admitted[::4]:
        house.let_wait(message)
        settle(house)
    again = House(restored(house.disk), house.world)
    assert again.found.lost == []
    again.finish_all(DICE)
    assert not again.world.missing()


def test_an_undo_removes_only_what_it_made(house: House) -> None:
    fd = house.disk.open(PATHS.mess(5000), os.O_WRONLY | os.O_CREAT)
    house.disk.write(fd, b"somebody else's\n")
    house.disk.close(fd)
    house.disk.link(PATHS.mess(5000), PATHS.todo(5000))
    message = AcceptedMessage(5000, 1, 2, 3, b"Fa\0Tb\0", b"new\n", 4)
    path = f"{PATHS.pid}/pool.77"
    house.disk.close(house.disk.open(path, os.O_WRONLY | os.O_CREAT))
    placing = FileWrite(message, QUEUED, path)
    place(house.disk, PATHS, [placing])
    assert isinstance(placing.error, FileExistsError)
    assert house.disk.content(PATHS.mess(5000)) == house.disk.content(PATHS.todo(5000)) == b"somebody else's\n"


def test_a_body_whose_flush_failed_before_the_service_died_is_written_again(house: House) -> None:
    house.keeper.scheduler_connected(house, set())
    submit(house, b"body\n")
    settle(house)
    message = house.admitted[0]
    path = PATHS.mess(message.number)
    house.disk.link(house.keeper.path_for(message.number), path)
    fd = house.disk.open(path, os.O_WRONLY)
    house.disk.write(fd, b"body\n")
    house.disk.fails_flush = lambda: True
    with pytest.raises(OSError, match="input/output"):
        house.disk.sync(fd)
    house.disk.fails_flush = lambda: False
    again = House(house.disk, house.world)
    again.stage.settle(DICE, timers=False)
    assert again.disk.after_power_cut(lambda most: 0).content(path) == b"body\n"


def write_unflushed(disk: SimDisk, path: str, content: bytes) -> None:
    fd = disk.open(path, os.O_WRONLY | os.O_CREAT)
    disk.write(fd, content)
    disk.close(fd)


@pytest.mark.parametrize("as_files", [False, True], ids=["named", "queued"])
def test_files_that_a_killed_service_had_not_flushed_are_flushed_before_the_journal_forgets(
    house: House, as_files: bool
) -> None:
    house.keeper.scheduler_connected(house, set())
    submit(house, b"body\n")
    settle(house)
    message = house.admitted[0]
    number = message.number
    house.disk.link(house.keeper.path_for(number), PATHS.mess(number))
    write_unflushed(house.disk, PATHS.mess(number), b"body\n")
    if as_files:
        write_unflushed(house.disk, PATHS.intd(number), message.as_todo())
        house.disk.link(PATHS.intd(number), PATHS.todo(number))
    again = House(house.disk.copy(), house.world)
    assert (again.found.live, again.found.queued) == ((0, 1) if as_files else (1, 0))
    again.keeper.scheduler_connected(again, set())
    again.stage.settle(DICE)
    for it in again.admitted:
        again.let_wait(it)
    again.stage.settle(DICE)
    assert again.keeper.held == 0
    after = House(again.disk.after_power_cut(lambda most: 0), again.world)
    after.finish_all(DICE)
    assert not after.world.missing()
