"""Queueing and cleaning as C does: what is left after each failure, what the sweep spares, and power cuts."""

import errno
import random
from collections.abc import Callable, Iterator

import pytest

from eqmail_core.queue.filesystem import FileSystem
from eqmail_core.queue.format.tree import classify
from eqmail_core.queue.spool import SWEEP_AGE_S, SpoolError, Submitter, clean, queue_one, sweep
from eqmail_core.site.layout import QueuePaths
from tests.support.simulated_disk import SimDisk
from tests.support.simulated_queue import FOLDERS, PATHS

RECEIVED = b"Received: (qmail 7 invoked by uid 8); now\n"
SUBMITTER = Submitter(7, 8, 9, RECEIVED)
ENVELOPE = b"Fa@b\0Tc@d\0\0"


def pieces(*data: bytes) -> Callable[[], bytes]:
    left: Iterator[bytes] = iter(data)
    return lambda: next(left, b"")


def queue(disk: FileSystem, envelope: bytes = ENVELOPE, paths: QueuePaths = PATHS) -> int:
    return queue_one(disk, paths, SUBMITTER, pieces(b"Subject: x\n", b"\nbody\n"), pieces(envelope[:3], envelope[3:]))


def files(disk: SimDisk) -> set[str]:
    return {path.split("/")[1] for path in disk.paths()}


class Failing(SimDisk):
    """Fails at the first call of one verb on a path with this folder."""

    def __init__(self, verb: str, folder: str) -> None:
        super().__init__(FOLDERS)
        self.verb, self.folder = verb, folder

    def _fail(self, verb: str, path: str) -> None:
        if verb == self.verb and f"/{self.folder}/" in path:
            raise OSError(errno.EIO, "broken", path)

    def open(self, path: str, flags: int, mode: int = 0o644) -> int:
        self._fail("open", path)
        return super().open(path, flags, mode)

    def link(self, old: str, new: str) -> None:
        self._fail("link", new)
        super().link(old, new)

    def write(self, fd: int, data: bytes | bytearray | memoryview) -> None:
        self._fail("write", "/any/")
        super().write(fd, data)

    def sync_folder(self, path: str) -> None:
        self._fail("sync", path + "/")
        super().sync_folder(path)


def test_dsn_parameters_are_where_c_does_not_read() -> None:
    disk = SimDisk(FOLDERS)
    envelope = pieces(ENVELOPE + b"W E:id 0:n:\0")
    number = queue_one(disk, PATHS, SUBMITTER, pieces(b"\nbody\n"), envelope, lambda: True)
    assert disk.content(PATHS.todo(number)) == b"u8\0p7 W E:id 0:n:\0Fa@b\0Tc@d\0"


def test_a_message_is_queued_as_c_does() -> None:
    disk = SimDisk(FOLDERS)
    number = queue(disk)
    assert disk.content(PATHS.mess(number)) == RECEIVED + b"Subject: x\n\nbody\n"
    assert disk.content(PATHS.todo(number)) == b"u8\0p7\0Fa@b\0Tc@d\0"
    assert disk.status(PATHS.todo(number)) == disk.status(PATHS.intd(number))
    assert disk.status(PATHS.mess(number))[0] == number  # type: ignore[index]
    assert files(disk) == {"mess", "intd", "todo"}


def test_the_netqmail_layout_has_flat_folders() -> None:
    paths = QueuePaths("q", 2, False)
    disk = SimDisk([*FOLDERS, "q/todo", "q/intd"])
    number = queue(disk, paths=paths)
    assert disk.exists(f"q/todo/{number}") and disk.exists(f"q/intd/{number}")


@pytest.mark.parametrize(
    ("verb", "folder", "code", "left"),
    [
        ("open", "pid", 63, set()),
        ("link", "mess", 64, {"pid"}),
        ("write", "any", 53, set()),
        ("sync", "mess", 53, set()),
        ("open", "intd", 65, {"mess"}),
        ("link", "todo", 66, {"mess", "intd"}),
    ],
)
def test_each_failure_has_its_exit_code_and_leaves_what_c_leaves(
    verb: str, folder: str, code: int, left: set[str]
) -> None:
    disk = Failing(verb, folder)
    with pytest.raises(SpoolError) as trouble:
        queue(disk)
    assert trouble.value.code == code
    assert files(disk) == left


@pytest.mark.parametrize(
    ("envelope", "code", "left"),
    [
        (b"Fa@b\0", 54, set()),
        (b"", 54, set()),
        (b"Xa\0\0", 91, {"mess", "intd"}),
        (b"F" + b"a" * 1003 + b"\0\0", 11, {"mess", "intd"}),
    ],
)
def test_a_bad_envelope_has_its_exit_code(envelope: bytes, code: int, left: set[str]) -> None:
    disk = SimDisk(FOLDERS)
    with pytest.raises(SpoolError) as trouble:
        queue(disk, envelope)
    assert trouble.value.code == code
    assert files(disk) == left


def test_a_message_that_cannot_be_read_is_not_queued() -> None:
    def broken() -> bytes:
        raise OSError(errno.EIO, "broken pipe")

    disk = SimDisk(FOLDERS)
    with pytest.raises(SpoolError) as trouble:
        queue_one(disk, PATHS, SUBMITTER, broken, pieces(ENVELOPE))
    assert trouble.value.code == 54
    assert files(disk) == set()


def test_the_envelope_is_read_no_further_than_it_goes() -> None:
    def too_far() -> bytes:
        raise AssertionError("read on")

    answers = [ENVELOPE]
    queue_one(SimDisk(FOLDERS), PATHS, SUBMITTER, pieces(b"m\n"), lambda: answers.pop() if answers else too_far())


@pytest.mark.parametrize("ordered", [True, False], ids=["journaling", "weakest"])
def test_what_was_queued_survives_every_power_cut(ordered: bool) -> None:
    disk = SimDisk(FOLDERS, ordered)
    rng = random.Random(1)
    queued: list[int] = []

    def cut() -> None:
        for way in (lambda most: 0, lambda most: most, *[lambda most: rng.randint(0, most)] * 6):
            after = disk.after_power_cut(way)
            for number in queued:
                assert after.content(PATHS.mess(number)) == RECEIVED + b"Subject: x\n\nbody\n"
                assert after.content(PATHS.todo(number)) == b"u8\0p7\0Fa@b\0Tc@d\0"
            if ordered:
                found: dict[str, set[str]] = {}
                for path in after.paths():
                    found.setdefault(path.rpartition("/")[2], set()).add(path.split("/")[1])
                assert all(classify(them) for name, them in found.items() if name.isdigit())

    disk.on_operation = cut
    while len(queued) < 5:
        queued.append(queue(disk))
    cut()


def test_cleaning_removes_what_is_asked_for() -> None:
    disk = SimDisk(FOLDERS)
    number = queue(disk)
    assert clean(disk, PATHS, b"todo/%d/%d" % (number % 2, number)) == b"+"
    assert files(disk) == {"mess"}
    assert clean(disk, PATHS, b"foop/%d" % number) == b"+"
    assert files(disk) == set()


def test_a_request_without_a_number_never_removes_anything() -> None:
    disk = SimDisk(FOLDERS)
    number = queue(disk)
    for request in (b"foop/x%d" % number, b"fool/%d" % number, b"todo/%d/" % number, b"foop/-1"):
        assert set(clean(disk, PATHS, request)) == {ord("x")}
    assert files(disk) == {"mess", "intd", "todo"}


def test_what_is_no_digit_is_answered_before_the_request_as_c_does() -> None:
    disk = SimDisk(FOLDERS)
    number = queue(disk)
    assert clean(disk, PATHS, b"todo/x/%d" % number) == b"x+"
    assert clean(disk, PATHS, b"foop/%dxy" % number) == b"xx+"
    assert files(disk) == set()


def test_the_sweep_spares_the_pool_and_recent_files() -> None:
    class Dated(SimDisk):
        def accessed(self, path: str) -> float:
            return 1000.0 if "old" in path or "pool" in path else 2000.0

    disk = Dated(FOLDERS)
    for name in ("1.2.old", "1.2.new", "pool.1"):
        disk.close(disk.open(f"q/pid/{name}", 0o301))
    sweep(disk, PATHS, 1001 + SWEEP_AGE_S)
    assert disk.paths() == ["q/pid/1.2.new", "q/pid/pool.1"]
