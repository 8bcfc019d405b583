"""The message store: when messages become files, full disks, and the allocation of numbers."""

import os
import random
from collections.abc import Callable

import pytest

from eqmail_core.mail.envelope import Envelope
from eqmail_core.queue.format.todo import parse_todo
from eqmail_core.queue.service import pool_supply
from eqmail_core.queue.service.accepted_message import AcceptedMessage
from eqmail_core.queue.service.file_writer import QUEUED, FileWrite, place
from eqmail_core.queue.service.message_store import LIVE
from tests.support.simulated_disk import SimDisk
from tests.support.simulated_queue import FOLDERS, PATHS, MailHistory, SimQueueService

RNG = random.Random(7)


@pytest.fixture
def service() -> SimQueueService:
    return SimQueueService(SimDisk(FOLDERS, ordered=True), MailHistory())


def submit(service: SimQueueService, *bodies: bytes, in_file: bool = False) -> None:
    for body in bodies:
        service.submit(body, [b"r@x"], in_file)


def settle(service: SimQueueService) -> None:
    service.sim_loop.settle(RNG, timers=False)


def test_without_a_scheduler_a_message_becomes_files(service: SimQueueService) -> None:
    submit(service, b"one\n")
    submit(service, b"long\n", in_file=True)
    settle(service)
    assert service.history.acknowledged == {b"one\n", b"long\n"}
    numbers = service.numbers("todo")
    assert len(numbers) == 2 and numbers == service.numbers("mess") == service.numbers("intd")
    todo = parse_todo(service.disk.content(PATHS.todo(numbers[0])) or b"")
    assert (todo.uid, todo.pid, todo.envelope) == (2, 3, Envelope(b"s@x", [b"r@x"]))
    assert all(service.disk.status(PATHS.mess(number))[0] == number for number in numbers)  # type: ignore[index]


def test_a_message_that_is_delivered_at_once_never_becomes_a_file(service: SimQueueService) -> None:
    service.store.scheduler_connected(service, set())
    submit(service, b"one\n")
    submit(service, b"long\n", in_file=True)
    settle(service)
    assert service.history.acknowledged == {b"one\n", b"long\n"}
    for message in service.admitted:
        service.finish(message)
    service.sim_loop.settle(RNG)
    assert service.store.held == 0
    assert not service.numbers("mess") and not service.numbers("todo")
    assert sum(len(service.disk.content(path) or b"") for path in service.disk.paths() if "/pid/" in path) == 0


def test_more_than_the_memory_allows_becomes_files() -> None:
    service = SimQueueService(SimDisk(FOLDERS, ordered=True), MailHistory(), budget=1000)
    service.store.scheduler_connected(service, set())
    submit(service, *(b"%d " % count * 100 for count in range(8)))
    settle(service)
    assert len(service.history.acknowledged) == 8
    assert 1 <= len(service.admitted) < 8
    assert len(service.admitted) + len(service.numbers("todo")) == 8


def test_an_envelope_too_long_for_a_packet_goes_through_todo(service: SimQueueService) -> None:
    service.store.scheduler_connected(service, set())
    service.submit(b"to many\n", [b"recipient%d@example.org" % count for count in range(4000)], in_file=False)
    settle(service)
    assert not service.admitted
    assert len(service.numbers("todo")) == 1


def test_a_number_is_not_given_out_before_the_tombstone_is_on_the_disk(service: SimQueueService) -> None:
    service.store.scheduler_connected(service, set())
    submit(service, b"one\n")
    settle(service)
    number = service.admitted[0].number
    service.finish(service.admitted[0])
    settle(service)
    taken = {service.store.take_number() for _ in range(300)}
    assert number not in taken
    service.sim_loop.settle(RNG)
    taken = {service.store.take_number() for _ in range(600)}
    assert number in taken


def test_cleaning_waits_for_the_tombstone_and_keeps_its_order(service: SimQueueService) -> None:
    service.store.scheduler_connected(service, set())
    submit(service, b"one\n")
    settle(service)
    message = service.admitted[0]
    service.let_wait(message)
    settle(service)
    assert service.disk.exists(PATHS.mess(message.number))
    answers: list[tuple[str, bytes]] = []

    def note(name: str) -> Callable[[bytes], None]:
        return lambda answer: answers.append((name, answer))

    service.store.clean(b"foop/%d" % message.number, note("mine"))
    service.store.clean(b"foop/999999", note("other"))
    service.sim_loop.settle(RNG)
    assert answers == [("mine", b"+"), ("other", b"+")]
    assert not service.disk.exists(PATHS.mess(message.number))


def test_files_that_the_journal_needs_cannot_be_removed(service: SimQueueService) -> None:
    service.store.scheduler_connected(service, set())
    submit(service, b"one\n")
    settle(service)
    answers: list[bytes] = []
    service.store.clean(b"foop/%d" % service.admitted[0].number, answers.append)
    settle(service)
    assert answers == [b"!"]


def test_a_refused_request_is_answered_in_its_turn(service: SimQueueService) -> None:
    """Answers have no names: one that overtakes another is taken for that one's."""
    service.store.scheduler_connected(service, set())
    submit(service, b"one\n")
    settle(service)
    held = service.admitted[0].number
    answers: list[tuple[str, bytes]] = []
    for name, request in (("todo", b"todo/1/999"), ("held", b"foop/%d" % held), ("other", b"foop/998")):
        service.store.clean(request, lambda answer, name=name: answers.append((name, answer)))  # type: ignore[misc]
    assert not answers
    settle(service)
    assert answers == [("todo", b"+"), ("held", b"!"), ("other", b"+")]


def test_a_full_disk_refuses_and_loses_nothing_and_goes_on(service: SimQueueService) -> None:
    service.store.scheduler_connected(service, set())
    submit(service, b"before\n")
    settle(service)
    service.disk.is_full = True
    bodies = [b"%d " % count * 300 for count in range(40)]
    submit(service, *bodies)
    settle(service)
    history = service.history
    assert history.acknowledged | history.refused == set(history.sent)
    assert b"before\n" in history.acknowledged and history.refused
    service.disk.is_full = False
    service.sim_loop.settle(RNG)
    submit(service, b"after\n")
    settle(service)
    assert b"after\n" in history.acknowledged
    service.finish_all(RNG)
    assert not history.missing()
    service.stop(RNG)
    assert not service.numbers("mess")


def test_messages_that_cannot_be_written_stay_in_the_journal_for_the_next_start(service: SimQueueService) -> None:
    service.store.scheduler_connected(service, set())
    submit(service, b"one\n")
    settle(service)
    service.disk.is_full = True
    service.stop(RNG)
    assert service.store.held == 1
    service.disk.is_full = False
    again = SimQueueService(service.disk, service.history)
    assert again.found.live == 1
    again.finish_all(RNG)
    assert not again.history.missing()


def test_a_stop_leaves_a_plain_queue(service: SimQueueService) -> None:
    service.store.scheduler_connected(service, set())
    submit(service, b"one\n", b"two\n")
    submit(service, b"long\n", in_file=True)
    settle(service)
    service.let_wait(service.admitted[0])
    service.stop(RNG)
    assert service.store.held == 0
    assert not [path for path in service.disk.paths() if "/pid/" in path]
    assert not service.faults()
    again = SimQueueService(service.disk, service.history)
    assert (again.found.live, again.found.queued, again.found.renumbered) == (0, 0, 0)
    again.finish_all(RNG)
    assert not again.history.missing()


def test_a_scheduler_that_comes_back_gets_what_it_does_not_hold(service: SimQueueService) -> None:
    service.store.scheduler_connected(service, set())
    submit(service, b"one\n", b"two\n")
    settle(service)
    one, two = service.admitted
    service.store.scheduler_disconnected(service)

    class Other:
        def __init__(self) -> None:
            self.admitted: list[int] = []

        def admit(self, message: object) -> None:
            self.admitted.append(message.serial)  # type: ignore[attr-defined]

    other = Other()
    service.store.scheduler_connected(other, {one.serial})
    assert other.admitted == [two.serial]
    assert one.state == LIVE


def test_a_number_taken_by_another_process_is_replaced() -> None:
    disk, history = SimDisk(FOLDERS, ordered=True), MailHistory()
    service = SimQueueService(disk, history)
    service.store.scheduler_connected(service, set())
    submit(service, b"one\n")
    settle(service)
    number = service.admitted[0].number
    # the files of the pool are removed by a foreign sweep, and the number comes back with another's message
    for path in [path for path in disk.paths() if "/pid/" in path]:
        disk.unlink(path)
    fd = disk.open("q/pid/foreign", 0o301)
    while disk.inode(fd) != number:
        disk.close(fd)
        fd = disk.open(f"q/pid/foreign{disk.operations}", 0o301)
    disk.link(next(f"q/pid/{name}" for name, inode in disk.entries("q/pid") if inode == number), PATHS.mess(number))
    again = SimQueueService(disk, history)
    assert (again.found.live, again.found.renumbered) == (0, 1)
    again.finish_all(RNG)
    assert not history.missing()
    assert disk.content(PATHS.mess(number)) == b""


def test_the_setting_for_files_makes_files_although_a_scheduler_is_there() -> None:
    service = SimQueueService(SimDisk(FOLDERS, ordered=True), MailHistory(), goes_direct=True)
    service.store.scheduler_connected(service, set())
    submit(service, b"one\n")
    settle(service)
    assert len(service.numbers("todo")) == 1 and not service.admitted


def test_the_number_pool_is_bounded(service: SimQueueService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_supply, "POOL_LOW", 0)
    service.store.scheduler_connected(service, set())
    for _ in range(4):
        submit(service, *(b"%d\n" % count for count in range(300)))
        settle(service)
        for message in service.admitted:
            service.store.delivered(message.serial)
        service.admitted.clear()
    service.sim_loop.settle(RNG)
    assert len([path for path in service.disk.paths() if "/pid/" in path]) <= 512 + 192


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


def test_a_queue_whose_numbers_are_not_inodes_loses_nothing_when_new_mail_comes(service: SimQueueService) -> None:
    bodies = [b"waits %d\n" % count for count in range(20)]
    submit(service, *bodies)
    settle(service)
    again = SimQueueService(restored(service.disk), service.history)
    assert again.found.misnumbered == 20
    submit(again, *(b"new %d\n" % count for count in range(60)))
    settle(again)
    assert len(again.history.acknowledged) == 80 and len(again.numbers("todo")) == 80
    again.finish_all(RNG)
    assert not again.history.missing()


def test_a_restored_journal_finds_its_bodies_under_their_new_numbers(service: SimQueueService) -> None:
    service.store.scheduler_connected(service, set())
    submit(service, *(b"short %d\n" % count for count in range(9)))
    for count in range(9):
        submit(service, b"long %d\n" % count, in_file=True)
    settle(service)
    for message in service.admitted[::4]:
        service.let_wait(message)
        settle(service)
    again = SimQueueService(restored(service.disk), service.history)
    assert again.found.lost == []
    again.finish_all(RNG)
    assert not again.history.missing()


def test_an_undo_removes_only_what_it_made(service: SimQueueService) -> None:
    fd = service.disk.open(PATHS.mess(5000), os.O_WRONLY | os.O_CREAT)
    service.disk.write(fd, b"somebody else's\n")
    service.disk.close(fd)
    service.disk.link(PATHS.mess(5000), PATHS.todo(5000))
    message = AcceptedMessage(5000, 1, 2, 3, b"Fa\0Tb\0", b"new\n", 4)
    path = f"{PATHS.pid}/pool.77"
    service.disk.close(service.disk.open(path, os.O_WRONLY | os.O_CREAT))
    placing = FileWrite(message, QUEUED, path)
    place(service.disk, PATHS, [placing])
    assert isinstance(placing.error, FileExistsError)
    assert service.disk.content(PATHS.mess(5000)) == service.disk.content(PATHS.todo(5000)) == b"somebody else's\n"


def test_a_body_whose_flush_failed_before_the_service_died_is_written_again(service: SimQueueService) -> None:
    service.store.scheduler_connected(service, set())
    submit(service, b"body\n")
    settle(service)
    message = service.admitted[0]
    path = PATHS.mess(message.number)
    service.disk.link(service.store.path_for(message.number), path)
    fd = service.disk.open(path, os.O_WRONLY)
    service.disk.write(fd, b"body\n")
    service.disk.fails_flush = lambda: True
    with pytest.raises(OSError, match="input/output"):
        service.disk.sync(fd)
    service.disk.fails_flush = lambda: False
    again = SimQueueService(service.disk, service.history)
    again.sim_loop.settle(RNG, timers=False)
    assert again.disk.after_power_cut(lambda most: 0).content(path) == b"body\n"


def write_unflushed(disk: SimDisk, path: str, content: bytes) -> None:
    fd = disk.open(path, os.O_WRONLY | os.O_CREAT)
    disk.write(fd, content)
    disk.close(fd)


@pytest.mark.parametrize("as_files", [False, True], ids=["named", "queued"])
def test_files_that_a_killed_service_had_not_flushed_are_flushed_before_the_journal_forgets(
    service: SimQueueService, as_files: bool
) -> None:
    service.store.scheduler_connected(service, set())
    submit(service, b"body\n")
    settle(service)
    message = service.admitted[0]
    number = message.number
    service.disk.link(service.store.path_for(number), PATHS.mess(number))
    write_unflushed(service.disk, PATHS.mess(number), b"body\n")
    if as_files:
        write_unflushed(service.disk, PATHS.intd(number), message.as_todo())
        service.disk.link(PATHS.intd(number), PATHS.todo(number))
    again = SimQueueService(service.disk.copy(), service.history)
    assert (again.found.live, again.found.queued) == ((0, 1) if as_files else (1, 0))
    again.store.scheduler_connected(again, set())
    again.sim_loop.settle(RNG)
    for it in again.admitted:
        again.let_wait(it)
    again.sim_loop.settle(RNG)
    assert again.store.held == 0
    after = SimQueueService(again.disk.after_power_cut(lambda most: 0), again.history)
    after.finish_all(RNG)
    assert not after.history.missing()


def test_a_stop_that_cannot_empty_the_journal_marks_what_has_ended(service: SimQueueService) -> None:
    """Otherwise the next start would deliver again what was delivered a moment before the stop."""
    service.store.scheduler_connected(service, set())
    submit(service, b"stays\n", b"delivered\n")
    settle(service)
    stays, delivered = service.admitted
    service.finish(delivered)
    assert service.store.held == 1
    service.disk.is_full = True
    stopped: list[bool] = []
    service.store.stop(lambda: stopped.append(True))
    settle(service)  # a service that stops runs no timers any more
    assert stopped
    service.disk.is_full = False
    again = SimQueueService(service.disk, service.history)
    assert again.found.live == 1 and not again.history.missing() - {b"stays\n"}
    again.store.scheduler_connected(again, set())
    settle(again)
    assert [message.serial for message in again.admitted] == [stays.serial]
