"""The queue without a scheduler: seen message by message, changed under its lock, moved to another one."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from eqmail_core.ipc.scheduler_control_protocol import MemoryMessageRecord
from eqmail_core.queue.admin.control import BOUNCE, DELETE, HOLD, RELEASE, RETRY, OfflineQueueControl, open_control
from eqmail_core.queue.admin.copy import copy_message
from eqmail_core.queue.admin.messages import PartitionReader, QueuedMessage, each_message
from eqmail_core.queue.admin.repair import repair
from eqmail_core.queue.admin.scheduler_client import SchedulerState
from eqmail_core.queue.format.channels import HELD_UNTIL
from eqmail_core.queue.lock import QueueInUse
from eqmail_core.queue.scan import QueuePartition, numbers_in
from eqmail_core.site.layout import NETQMAIL, QueuePaths
from eqmail_core.site.site import Site

NOW = 1_700_000_000
BIRTH = NOW - 1000
DUE = NOW + 500


def site_at(home: Path) -> Site:
    site = Site(home=str(home), single_user=True)
    for folder in (site.control, site.run, site.queue.journal):
        os.makedirs(folder)
    repair(site)
    return site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return site_at(tmp_path / "home")


@pytest.fixture
def alone(site: Site) -> Iterator[OfflineQueueControl]:
    control = OfflineQueueControl(site, NOW)
    yield control
    control.close()


def put(queue: QueuePaths, sender: bytes = b"s@x", body: bytes = b"Subject: x\n\nbody\n", **lists: bytes) -> int:
    """A preprocessed message; its number."""
    draft = Path(queue.pid, "draft")
    draft.write_bytes(body)
    number = draft.stat().st_ino
    draft.rename(queue.mess(number))
    contents = {queue.info(number): (b"F%b\0" % sender, BIRTH)}
    contents |= {queue.channel(name, number): (text, DUE) for name, text in lists.items()}
    for path, (text, mtime) in contents.items():
        Path(path).write_bytes(text)
        os.chmod(path, 0o600)
        os.utime(path, (mtime, mtime))
    return number


def only(queue: QueuePaths, books: SchedulerState | None = None) -> QueuedMessage:
    [entry] = each_message(queue, books, QueuedMessage.whole)
    return entry


def order(control: OfflineQueueControl, queue: QueuePaths, verb: bytes) -> bytes:
    entry = only(queue)
    [(number, result)] = control.change(verb, [(entry.number, entry.stamp)])
    assert number == entry.number
    return result


def test_a_message_is_seen_with_its_recipients(site: Site) -> None:
    number = put(site.queue, remote=b"Da@y\0Tb@y\0", local=b"Tj@x\0")
    Path(site.queue.bounce(number)).write_bytes(b"<a@y>:\nno\n\n")
    entry = only(site.queue)
    assert (entry.number, entry.sender, entry.birth, entry.size) == (number, b"s@x", BIRTH, 17)
    assert entry.recipients == [("local", False, b"j@x"), ("remote", True, b"a@y"), ("remote", False, b"b@y")]
    assert (entry.state, entry.bounces, entry.due) == ("waiting", True, {"local": DUE, "remote": DUE})


def test_messages_that_are_new_or_finished_or_in_memory_are_seen_too(site: Site) -> None:
    finished = put(site.queue)
    new = put(site.queue)
    os.rename(site.queue.info(new), site.queue.todo(new))
    Path(site.queue.todo(new)).write_bytes(b"u1\0p2\0Fn@x\0Ta@y\0")
    broken = put(site.queue)
    os.unlink(site.queue.mess(broken))
    books = SchedulerState()
    books.memory[5] = MemoryMessageRecord(77, 5, NOW, 10, b"m@x", False)
    books.memory[finished] = MemoryMessageRecord(78, finished, NOW, 10, b"m@x", False)
    seen = {it.number: it for it in each_message(site.queue, books, QueuedMessage.whole)}
    assert {number: it.state for number, it in seen.items()} == {finished: "finished", new: "new", 5: "memory"}
    assert (seen[new].sender, seen[new].recipients, seen[new].stamp) == (b"n@x", [("", False, b"a@y")], b"")
    assert seen[5].stamp == b"m77"
    assert [it.number for it in each_message(site.queue, books, QueuedMessage.whole, [5, new, 123])] == [new, 5]


def test_only_what_is_asked_for_is_read(site: Site) -> None:
    number = put(site.queue, remote=b"Tb@y\0")
    os.unlink(site.queue.mess(number))
    os.unlink(site.queue.channel("remote", number))
    assert list(each_message(site.queue, None, lambda message: (message.birth, message.sender))) == [(BIRTH, b"s@x")]


def test_a_message_that_leaves_while_it_is_looked_at_is_passed_over_and_one_that_cannot_be_read_is_named(
    site: Site,
) -> None:
    leaving, broken, whole = (put(site.queue, remote=b"Tb@y\0") for _ in range(3))
    os.unlink(site.queue.mess(broken))
    troubles: list[int] = []

    def view(message: QueuedMessage) -> int:
        if message.number == leaving:
            for path in (site.queue.info(leaving), site.queue.mess(leaving)):
                os.unlink(path)
        return message.whole().number

    assert list(each_message(site.queue, None, view, on_problem=lambda number, error: troubles.append(number))) == [
        whole
    ]
    assert troubles == [broken]


def test_a_message_that_is_preprocessed_meanwhile_is_seen_with_its_recipients(site: Site) -> None:
    number = put(site.queue, remote=b"Tb@y\0")
    for path in (site.queue.info(number), site.queue.channel("remote", number)):
        os.rename(path, f"{path}.later")
    Path(site.queue.todo(number)).write_bytes(b"u1\0p2\0Fs@x\0Tb@y\0")
    part = QueuePartition(site.queue, number % site.queue.split)
    os.unlink(site.queue.todo(number))
    for path in (site.queue.info(number), site.queue.channel("remote", number)):
        os.rename(f"{path}.later", path)
    entry = PartitionReader(part, site.queue, None, set()).message(number).whole()
    part.close()
    assert (entry.state, entry.recipients) == ("waiting", [("remote", False, b"b@y")])


@pytest.mark.parametrize("count", [150, 4000])
def test_long_lists_are_read_to_their_end(site: Site, count: int) -> None:
    recipients = [b"recipient%d@example.org" % serial for serial in range(count)]
    put(site.queue, remote=b"".join(b"T%b\0" % it for it in recipients))
    assert only(site.queue).recipients == [("remote", False, it) for it in recipients]


def test_new_messages_of_an_unsplit_todo_are_seen_once(tmp_path: Path) -> None:
    site = Site(home=str(tmp_path / "home"), layout=NETQMAIL, single_user=True)
    for folder in (site.control, site.run, site.queue.journal):
        os.makedirs(folder)
    repair(site)
    numbers = [put(site.queue) for _ in range(5)]
    for number in numbers:
        os.unlink(site.queue.info(number))
        Path(site.queue.todo(number)).write_bytes(b"u1\0p2\0Fs@x\0Tb@y\0")
    assert sorted(each_message(site.queue, None, lambda message: message.number)) == sorted(numbers)


def test_due_times_come_from_the_scheduler(site: Site) -> None:
    number = put(site.queue, remote=b"Tb@y\0")
    books = SchedulerState()
    books.due["remote"][number] = HELD_UNTIL
    assert only(site.queue, books).state == "held"
    books.running.add(number)
    assert only(site.queue, books).state == "running"


def test_a_message_is_held_and_released_by_the_times_of_its_lists(site: Site, alone: OfflineQueueControl) -> None:
    number = put(site.queue, remote=b"Tb@y\0", local=b"Tj@x\0")
    assert order(alone, site.queue, HOLD) == b"done"
    assert only(site.queue).state == "held"
    assert only(site.queue).birth == BIRTH
    assert order(alone, site.queue, RELEASE) == b"done"
    assert only(site.queue).due == {"local": NOW, "remote": NOW}
    assert Path(site.queue.channel("remote", number)).read_bytes() == b"Tb@y\0"


def test_a_retried_message_is_due_at_once(site: Site, alone: OfflineQueueControl) -> None:
    put(site.queue, remote=b"Tb@y\0")
    assert order(alone, site.queue, RETRY) == b"done"
    assert only(site.queue).due == {"remote": NOW}


def test_a_deleted_message_leaves_nothing(site: Site, alone: OfflineQueueControl) -> None:
    number = put(site.queue, remote=b"Tb@y\0")
    Path(site.queue.bounce(number)).write_bytes(b"<a@y>:\nno\n\n")
    assert order(alone, site.queue, DELETE) == b"done"
    left = [path for path in Path(site.queue.root).rglob(str(number)) if path.is_file()]
    assert left == []


def test_a_returned_message_waits_for_a_scheduler_that_sends_the_bounce(site: Site) -> None:
    Path(site.control, "virtualdomains").write_text("virt.org:v\n")
    again = OfflineQueueControl(site, NOW)
    number = put(site.queue, remote=b"Da@y\0Tb@y\0", local=b"Tv-j@virt.org\0")
    assert order(again, site.queue, BOUNCE) == b"done"
    assert only(site.queue).state == "finished"
    text = Path(site.queue.bounce(number)).read_bytes()
    assert text.startswith(b"<j@virt.org>:\n")
    assert b"<b@y>:\n" in text
    assert b"<a@y>" not in text
    again.close()


def test_a_reused_number_is_left_alone(site: Site, alone: OfflineQueueControl) -> None:
    number = put(site.queue, remote=b"Tb@y\0")
    assert list(alone.change(DELETE, [(number, b"1"), (1, b"1")])) == [(number, b"changed"), (1, b"gone")]
    assert only(site.queue).state == "waiting"


def test_a_file_system_without_future_timestamps_cannot_hold(
    site: Site, alone: OfflineQueueControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(site.queue, remote=b"Tb@y\0")
    real = os.utime
    monkeypatch.setattr(
        os, "utime", lambda path, times, **more: real(path, (times[0], min(times[1], 2**31 - 1)), **more)
    )
    assert order(alone, site.queue, HOLD).startswith(b"the file system cannot note a time in 2100")


def test_without_its_control_socket_a_running_scheduler_blocks_changes(site: Site, alone: OfflineQueueControl) -> None:
    with pytest.raises(QueueInUse):
        open_control(site, NOW)


def test_a_moved_message_keeps_everything_but_its_number(site: Site, tmp_path: Path) -> None:
    target = site_at(tmp_path / "other").queue
    body = b"Subject: x\n\n" + b"line\n" * 50_000
    number = put(site.queue, b"s@x", body, remote=b"Da@y\0Tb@y\0")
    Path(site.queue.bounce(number)).write_bytes(b"<a@y>:\nno\n\n")
    before = only(site.queue)
    new = copy_message(site.queue, number, target, {})
    after = only(target)
    assert after.number == new == os.stat(target.mess(new)).st_ino
    for name in ("birth", "bounces", "due", "recipients", "sender", "size", "state"):
        assert getattr(after, name) == getattr(before, name), name
    assert Path(target.mess(new)).read_bytes() == body
    assert {os.stat(path).st_mode & 0o777 for path in (target.info(new), target.channel("remote", new))} == {0o600}
    assert os.listdir(target.pid) == []


def test_an_interrupted_move_leaves_only_leftovers_that_are_swept(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = site_at(tmp_path / "other").queue
    number = put(site.queue, remote=b"Tb@y\0")
    calls = 0
    real = os.fsync

    def full(fd: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(28, "full")
        real(fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="full"):
            copy_message(site.queue, number, target, {})
    assert list(each_message(target, None, QueuedMessage.whole)) == []
    assert list(numbers_in(target.info_dirs())) == []
    copy_message(site.queue, number, target, {"remote": HELD_UNTIL})
    assert only(target).state == "held"
