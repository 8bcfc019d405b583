"""Examining, repairing and emptying a queue without a scheduler."""

import os
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

import pytest

from eqmail_core.queue.admin.messages import QueuedMessage, each_message
from eqmail_core.queue.admin.qstat import ACTIONS, NoSuchMessage
from eqmail_core.queue.admin.repair import examine, remove_message, repair, resplit
from eqmail_core.queue.lock import QueueInUse, lock_scheduling
from eqmail_core.queue.scan import count
from eqmail_core.site.layout import EQMAIL_109, NETQMAIL, Layout
from eqmail_core.site.site import Site


@pytest.fixture(params=[EQMAIL_109, NETQMAIL], ids=lambda layout: str(layout.name))
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    layout = request.param
    assert isinstance(layout, Layout)
    made = Site(home=str(tmp_path), layout=layout, split=3, single_user=True)
    repair(made)
    return made


def put(site: Site, number: int) -> None:
    queue = site.queue
    for path, text in (
        (queue.mess(number), b"Subject: x\n\nbody\n"),
        (queue.info(number), b"Fs@x\0"),
        (queue.channel("local", number), b"Tjoe@x\0Djim@x\0"),
        (queue.bounce(number), b"trouble"),
    ):
        Path(path).write_bytes(text)


def output(site: Site, option: bytes, value: bytes = b"") -> bytes:
    return b"".join(ACTIONS[option](site.queue, value))


def test_a_repaired_queue_has_no_faults(site: Site) -> None:
    found = examine(site)
    assert (found.split, found.user_lookup, found.modes) == (True, True, True)
    assert os.stat(site.queue.tcpto).st_size == site.layout.tcpto_size


def test_faults_are_distinguished(site: Site) -> None:
    os.chmod(site.queue.mess_dirs()[1], 0o777)
    assert not examine(site).modes
    os.mkdir(f"{site.queue.root}/info/3")
    found = examine(site)
    assert (found.split, found.user_lookup, found.modes) == (False, True, False)
    repair(site)
    assert examine(site).split


def test_a_new_split_moves_the_files_and_keeps_them(site: Site) -> None:
    for number in (7, 8, 9):
        put(site, number)
    wider = Site(home=site.home, layout=site.layout, split=5, single_user=True)
    repair(wider)
    for number in (7, 8, 9):
        assert [it.sender for it in each_message(wider.queue, None, QueuedMessage.whole, [number])] == [b"s@x"]
    assert examine(wider).split
    assert resplit(wider) == 0


def test_numbered_folders_that_are_too_many_go_when_they_are_empty(site: Site) -> None:
    put(site, 8)
    narrower = Site(home=site.home, layout=site.layout, split=2, single_user=True)
    repair(narrower)
    assert sorted(os.listdir(f"{site.queue.root}/mess")) == ["0", "1"]
    assert [it.number for it in each_message(narrower.queue, None, QueuedMessage.whole)] == [8]


def test_a_link_planted_in_the_queue_is_not_followed(site: Site, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o600)
    os.symlink(tmp_path / "secret", site.queue.mess(4))
    with pytest.raises(OSError, match="symbolic link"):
        repair(site)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_files_of_messages_get_the_mode_of_their_folder(site: Site) -> None:
    put(site, 4)
    os.chmod(site.queue.mess(4), 0o666)
    os.chmod(site.queue.info(4), 0o644)
    repair(site)
    assert os.stat(site.queue.mess(4)).st_mode & 0o777 == 0o644
    assert os.stat(site.queue.info(4)).st_mode & 0o777 == 0o600


def test_a_removed_message_leaves_nothing(site: Site) -> None:
    put(site, 4)
    assert remove_message(site.queue, 4)
    assert not remove_message(site.queue, 4)
    assert not [name for _, _, names in os.walk(site.queue.root) for name in names if name == "4"]


def test_nothing_is_deleted_while_the_scheduler_runs(site: Site) -> None:
    put(site, 4)
    fd = os.open(site.queue.sendmutex, os.O_WRONLY)
    flock(fd, LOCK_EX | LOCK_NB)
    try:
        for option, value in ((b"D", b"4"), (b"d", b"")):
            with pytest.raises(QueueInUse):
                output(site, option, value)
    finally:
        os.close(fd)
    assert [it.number for it in each_message(site.queue, None, QueuedMessage.whole)] == [4]
    os.close(lock_scheduling(site.queue))


def test_one_message_is_deleted_by_its_number(site: Site) -> None:
    put(site, 4)
    put(site, 5)
    assert output(site, b"D", b"4") == b"deleting message 4 ... done\n"
    assert output(site, b"i").splitlines()[1:] == [b"5"]
    for wrong in (b"4", b"x", b""):
        with pytest.raises(NoSuchMessage):
            output(site, b"D", wrong)


def test_all_messages_are_deleted(site: Site) -> None:
    put(site, 4)
    put(site, 5)
    output(site, b"d")
    assert count(site.queue.mess_dirs()) == count(site.queue.info_dirs()) == 0


def test_the_list_ends_in_a_summary(site: Site) -> None:
    put(site, 4)
    text = output(site, b"l")
    assert b"\nMessage-Id: 4\nSubject: x\n\nbody\n" in text
    assert b"    total messages in queue: 1\n" in text
    assert b"messages with local recipients: 1\n" in text
    assert b"messages with remote recipients: 0\n" in text


def test_recipients_are_listed_with_their_marks(site: Site) -> None:
    put(site, 4)
    assert b"\nMessage-Id: 4\n\tlocal\tjoe@x\n  done\tlocal\tjim@x\n" in output(site, b"L")
