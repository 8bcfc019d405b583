"""Groups of Maildir deliveries: the order of barrier and names, and when a report is durable."""

import os
import shutil
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from eqmail_core.local.service import sync_batch as barrier_module
from eqmail_core.local.service import time_budget as budget
from eqmail_core.local.service import user_batch as visit
from eqmail_core.local.service.maildir_batch import MaildirBatch
from eqmail_core.local.service.protocol import AgentOrder
from eqmail_core.local.service.user_batch import BatchResult
from eqmail_core.outcome import NOT_DURABLE
from eqmail_core.site.site import Site
from eqmail_core.system.privileges import PrivilegeError
from eqmail_core.users.user import User

DONE = b"Kdid 1+0+0\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("tmp", "new", "cur"):
        (tmp_path / "joe/Maildir" / name).mkdir(parents=True)
    (tmp_path / "joe").chmod(0o755)
    return tmp_path / "joe"


@pytest.fixture
def batch(home: Path) -> MaildirBatch:
    return MaildirBatch(Site(home=str(home.parent)), b"./Maildir/\n", lambda user: nullcontext())


class Orders:
    """Makes orders for users whose homes are all in one folder."""

    def __init__(self, homes: Path) -> None:
        self._homes = homes

    def __call__(self, number: int, text: bytes = b"Subject: x\n\n", name: str = "joe") -> AgentOrder:
        fd = os.memfd_create("message")
        os.write(fd, text)
        local = name.encode()
        user = User(local, os.getuid(), os.getgid(), os.fsencode(self._homes / name), b"", b"")
        return AgentOrder(number, b"1.X%d" % number, local, b"h", b"s@x", user, fd)


@pytest.fixture
def order(home: Path) -> Orders:
    return Orders(home.parent)


def reports_of(result: BatchResult) -> list[tuple[int, bool, bytes]]:
    return [(number, it.disposition != NOT_DURABLE, it.outcome + it.text) for number, it in result.reports]


def new(home: Path) -> list[Path]:
    return sorted((home / "Maildir/new").iterdir())


@pytest.mark.parametrize("size", [1, 2, 3, 20])
def test_no_file_is_linked_before_the_flush(
    order: Orders, home: Path, batch: MaildirBatch, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    synced = []
    fsync, sync_file_system = os.fsync, barrier_module.sync_file_system

    def noted(fd: int) -> None:
        synced.append(len(new(home)))
        fsync(fd)

    def noted_all(fd: int) -> None:
        synced.append(len(new(home)))
        assert len(list((home / "Maildir/tmp").iterdir())) == size
        sync_file_system(fd)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(barrier_module, "sync_file_system", noted_all)
    result = batch.deliver([order(number) for number in range(size)])
    assert synced == [0] * (size if size <= 2 else 1)
    assert reports_of(result) == [(number, False, DONE) for number in range(size)]
    assert len(new(home)) == size and not list((home / "Maildir/tmp").iterdir())


def test_the_next_flush_completes_the_group_before(order: Orders, batch: MaildirBatch) -> None:
    assert batch.deliver([order(1), order(2), order(3)]).durable == []
    assert batch.flush_in_s is not None
    assert batch.deliver([order(4), order(5), order(6)]).durable == [1, 2, 3]
    assert batch.flush() == [4, 5, 6]
    assert batch.flush_in_s is None


def test_few_deliveries_share_one_flush(order: Orders, home: Path, batch: MaildirBatch) -> None:
    for number in range(5):
        assert batch.deliver([order(number)]).durable == []
    assert len(new(home)) == 5
    assert batch.flush() == [0, 1, 2, 3, 4]


def test_many_deliveries_are_flushed_at_once(
    order: Orders, batch: MaildirBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(barrier_module, "_LINGERING", 2)
    batch.deliver([order(1)])
    assert batch.flush_in_s != 0.0
    batch.deliver([order(2)])
    assert batch.flush_in_s == 0.0


def test_a_failed_flush_delivers_nothing(
    order: Orders, home: Path, batch: MaildirBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(barrier_module, "sync_file_system", broken)
    result = batch.deliver([order(number) for number in range(5)])
    assert {report[2][:1] for report in reports_of(result)} == {b"Z"}
    assert not new(home) and not list((home / "Maildir/tmp").iterdir())
    assert batch.flush_in_s is None


def test_failures_of_one_order_do_not_touch_the_others(order: Orders, home: Path, batch: MaildirBatch) -> None:
    (home / ".qmail-missing").write_text("./None/\n")
    batch_orders = [order(1), order(2, b"Delivered-To: joe@h\n\n"), order(3)]
    lost = order(4)
    os.close(lost.fd)
    lost.fd = -1
    reports = {number: text for number, _, text in reports_of(batch.deliver([*batch_orders, lost]))}
    assert reports[1] == reports[3] == DONE
    assert reports[2].startswith(b"DThis message is looping") and reports[4].startswith(b"ZUnable to read message")
    assert len(new(home)) == 2


def test_anything_but_a_maildir_is_left_to_others(order: Orders, home: Path, batch: MaildirBatch) -> None:
    (home / ".qmail").write_text("./Maildir/\n|program\n")
    it = order(1)
    result = batch.deliver([it])
    assert result.needs_subprocess == [it] and not reports_of(result) and not new(home)
    os.close(it.fd)


def test_a_large_message_does_not_hold_up_the_group(order: Orders, home: Path, batch: MaildirBatch) -> None:
    large, small = order(1), order(2)
    os.ftruncate(large.fd, 5 << 20)
    result = batch.deliver([large, small])
    assert result.needs_subprocess == [large] and reports_of(result) == [(2, False, DONE)]
    os.close(large.fd)


def test_a_changed_dotqmail_file_counts_at_once(order: Orders, home: Path, batch: MaildirBatch) -> None:
    assert reports_of(batch.deliver([order(1)])) == [(1, False, DONE)]
    (home / ".qmail").write_text("#nothing\n")
    assert reports_of(batch.deliver([order(2)])) == [(2, True, b"Kdid 0+0+0\n")]


def test_a_replay_replaces_its_copy(order: Orders, home: Path, batch: MaildirBatch) -> None:
    batch.deliver([order(1)])
    batch.deliver([order(1)])
    assert len(new(home)) == 1


def test_a_closed_home_defers_the_group(order: Orders, home: Path, batch: MaildirBatch) -> None:
    home.chmod(0o1755)
    reports = reports_of(batch.deliver([order(1), order(2)]))
    assert [text[:1] for _, _, text in reports] == [b"Z", b"Z"] and not new(home)


def test_one_flush_serves_several_users(
    home: Path, order: Orders, batch: MaildirBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ann", "bob"):
        shutil.copytree(home, home.parent / name)
    (home.parent / "bob").chmod(0o1755)
    barriers = []
    monkeypatch.setattr(barrier_module, "sync_file_system", barriers.append)
    names = ["joe", "ann", "bob", "ann", "joe"]
    result = batch.deliver([order(number, name=name) for number, name in enumerate(names)])
    assert {number: text[:1] for number, _, text in reports_of(result)} == {0: b"K", 1: b"K", 2: b"Z", 3: b"K", 4: b"K"}
    assert len(barriers) == 1
    assert [len(new(home.parent / name)) for name in ("joe", "ann", "bob")] == [2, 2, 0]
    assert sorted(batch.flush()) == [0, 1, 3, 4]


def test_names_of_many_folders_take_one_flush(
    home: Path, order: Orders, batch: MaildirBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        shutil.copytree(home, home.parent / f"user{number}")
    batch.deliver([order(number, name=f"user{number}") for number in range(5)])
    flushed = []
    monkeypatch.setattr(barrier_module, "sync_file_system", flushed.append)
    assert batch.flush() == [0, 1, 2, 3, 4]
    assert len(flushed) == 1


def test_a_user_whose_identity_fails_is_refused_and_the_others_are_not(home: Path, order: Orders) -> None:
    def identity(user: User) -> AbstractContextManager[object]:
        if user.name == b"ann":
            raise PrivilegeError("no such luck")
        return nullcontext()

    shutil.copytree(home, home.parent / "ann")
    batch = MaildirBatch(Site(home=str(home.parent)), b"./Maildir/\n", identity)
    reports = reports_of(batch.deliver([order(1), order(2, name="ann")]))
    assert sorted((number, text[:1]) for number, _, text in reports) == [(1, b"K"), (2, b"Z")]
    assert not new(home.parent / "ann")


@pytest.fixture
def shared(home: Path) -> MaildirBatch:
    """A batch that all users share."""
    return MaildirBatch(Site(home=str(home.parent)), b"./Maildir/\n", lambda user: nullcontext(), is_shared=True)


def drop(orders: list[AgentOrder]) -> None:
    for it in orders:
        os.close(it.fd)


def test_an_account_that_is_lost_before_its_names_are_given_is_refused_and_the_others_are_not(
    home: Path, order: Orders
) -> None:
    turns = []

    def identity(user: User) -> AbstractContextManager[object]:
        turns.append(user.name)
        if user.name == b"ann" and turns.count(b"ann") == 2:
            raise PrivilegeError("gone between writing and naming")
        return nullcontext()

    shutil.copytree(home, home.parent / "ann")
    batch = MaildirBatch(Site(home=str(home.parent)), b"./Maildir/\n", identity)
    reports = reports_of(batch.deliver([order(1, name="ann"), order(2)]))
    assert sorted((number, text[:1]) for number, _, text in reports) == [(1, b"Z"), (2, b"K")]
    assert not new(home.parent / "ann") and len(new(home)) == 1


@pytest.mark.parametrize("step", ["_write", "_look_up"])
def test_an_unexpected_error_is_the_report_of_its_request(
    home: Path, order: Orders, batch: MaildirBatch, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    shutil.copytree(home, home.parent / "ann")
    act = getattr(visit.UserBatch, step)

    def broken(its: visit.UserBatch, batch_order: object) -> object:
        if its.user.name == b"ann":
            raise ValueError("Exceeds the limit (4300 digits)")
        return act(its, batch_order)

    monkeypatch.setattr(visit.UserBatch, step, broken)
    reports = {number: text for number, _, text in reports_of(batch.deliver([order(1), order(2, name="ann")]))}
    assert reports == {1: DONE, 2: b"ZUnable to deliver: ValueError. (#4.3.0)\n"}


def test_an_unexpected_error_is_the_answer_to_its_lookup(
    order: Orders, batch: MaildirBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object) -> None:
        raise MemoryError

    monkeypatch.setattr(visit, "check_deliverable", broken)
    it = order(1)
    text = b"ZUnable to deliver: MemoryError. (#4.3.0)"
    assert reports_of(batch.check_deliverable([(7, it.user)])) == [(7, True, text)]
    os.close(it.fd)


LONG = "#" * 20000 + "\n./Maildir/\n"


@pytest.mark.parametrize("text", [LONG, "./Maildir/\n" * 17])
def test_slow_work_is_not_done_in_the_shared_process(
    home: Path, order: Orders, shared: MaildirBatch, text: str
) -> None:
    (home / ".qmail").write_text(text)
    it = order(1)
    result = shared.deliver([it])
    assert result.needs_subprocess == [it] and not result.slow and not reports_of(result) and not new(home)
    drop(result.needs_subprocess)


def test_a_quota_is_not_counted_in_the_shared_process(home: Path, order: Orders, shared: MaildirBatch) -> None:
    (home / "Maildir/maildirsize").write_text("99999S\n" + "1 1\n" * 5000)
    it = order(1)
    result = shared.deliver([it])
    assert result.needs_subprocess == [it] and not reports_of(result) and not list((home / "Maildir/tmp").iterdir())
    drop(result.needs_subprocess)


def test_many_dashes_are_not_followed_in_the_shared_process(home: Path, order: Orders, shared: MaildirBatch) -> None:
    it = order(1)
    it.user.ext = b"-" * 32
    it.user.dash = b"-"
    result = shared.deliver([it])
    assert result.needs_subprocess == [it]
    assert shared.check_deliverable([(7, it.user)]).unanswered == [7]
    drop(result.needs_subprocess)


def test_an_agent_follows_long_files_itself(home: Path, order: Orders, batch: MaildirBatch) -> None:
    (home / ".qmail").write_text(LONG)
    it = order(1)
    assert reports_of(batch.check_deliverable([(7, it.user)])) == [(7, True, b"K")]
    assert reports_of(batch.deliver([it])) == [(1, False, DONE)]


def test_copies_that_are_open_at_a_time_are_bounded(home: Path, order: Orders, batch: MaildirBatch) -> None:
    (home / ".qmail").write_text("./Maildir/\n" * 16)
    result = batch.deliver([order(number) for number in range(20)])
    assert len(reports_of(result)) == 7 and len(result.needs_subprocess) == 13
    drop(result.needs_subprocess)


class Clock:
    """Time that passes when a user named joe is looked after."""

    def __init__(self) -> None:
        self.now = 0.0
        self.step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_a_slow_user_does_not_delay_the_others(home: Path, order: Orders) -> None:
    clock = Clock()

    def identity(user: User) -> AbstractContextManager[object]:
        clock.step = 0.4 if user.name == b"joe" else 0.0
        return nullcontext()

    shutil.copytree(home, home.parent / "ann")
    batch = MaildirBatch(Site(home=str(home.parent)), b"./Maildir/\n", identity, is_shared=True, clock=clock)
    joe, ann = order(1).user, order(2, name="ann").user
    ann.uid += 1
    orders = [order(number) for number in range(5)] + [order(9, name="ann")]
    orders[-1].user = ann
    result = batch.deliver(orders)
    assert {number for number, _, text in reports_of(result) if text == DONE} >= {0, 9}
    assert result.slow == {it.number for it in result.needs_subprocess} and 4 in result.slow
    drop(result.needs_subprocess)
    clock.step = 0.0
    answers = batch.check_deliverable([(1, joe), (2, ann)])
    assert (answers.unanswered, answers.slow) == ([1], {1}) and reports_of(answers) == [(2, True, b"K")]
    clock.now += budget.SLOW_S + 1
    assert reports_of(batch.check_deliverable([(1, joe)])) == [(1, True, b"K")]


def test_flagged_messages_of_a_batch_go_to_the_folder_for_them(order: Orders, home: Path, batch: MaildirBatch) -> None:
    for name in ("tmp", "new"):
        (home / "Maildir/.Junk" / name).mkdir(parents=True)
    (home.parent / "control").mkdir()
    (home.parent / "control/authfolder").write_text("Junk\n")
    flagged = b"Received: x\nX-Spam-Flag: YES\n\nbody\n"
    result = batch.deliver([order(1), order(2, flagged), order(3, flagged)])
    assert [outcome for _, _, outcome in reports_of(result)] == [DONE] * 3
    assert len(new(home)) == 1 and len(list((home / "Maildir/.Junk/new").iterdir())) == 2
