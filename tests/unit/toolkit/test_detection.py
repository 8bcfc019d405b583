"""What setup finds of an older qmail, and the changes that it refuses for the sake of queued mail."""

import fcntl
import os
from pathlib import Path

import pytest

from eqmail_core.site.layout import EQMAIL_111, NETQMAIL
from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError
from eqmail_setup.installation.detection import detect_installation, require_safe_change


def queue(home: Path, layout: str, split: int, split_todo: bool) -> None:
    for name in ("mess", "info", "local", "remote"):
        for number in range(split):
            (home / layout / name / str(number)).mkdir(parents=True)
    for name in ("intd", "todo"):
        for number in range(split if split_todo else 0):
            (home / layout / name / str(number)).mkdir(parents=True)
        (home / layout / name).mkdir(exist_ok=True)
    (home / layout / "lock").mkdir()
    (home / layout / "lock/sendmutex").touch()


@pytest.mark.parametrize(
    ("folder", "split", "split_todo", "layout"),
    [("queue", 23, True, "eqmail-1.09"), ("queue", 7, False, "netqmail"), ("var/queue", 23, True, "eqmail-1.11")],
)
def test_layout_and_split_of_a_c_queue_are_detected(
    tmp_path: Path, folder: str, split: int, split_todo: bool, layout: str
) -> None:
    queue(tmp_path, folder, split, split_todo)
    site = detect_installation(str(tmp_path))
    assert site is not None
    assert (site.layout.name, site.split) == (layout, split)


def test_an_empty_home_gives_no_layout(tmp_path: Path) -> None:
    assert detect_installation(str(tmp_path)) is None


def test_the_split_may_change_while_the_queue_is_empty_and_idle(tmp_path: Path) -> None:
    queue(tmp_path, "queue", 3, True)
    old, new = Site(home=str(tmp_path), split=3), Site(home=str(tmp_path), split=5)
    require_safe_change(old, new)
    with open(tmp_path / "queue/lock/sendmutex", "w") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)
        with pytest.raises(EqmailError, match="while qmail-send runs"):
            require_safe_change(old, new)
    (tmp_path / "queue/mess/1/4711").touch()
    with pytest.raises(EqmailError, match=r"the split \(3 to 5\) cannot change while 1 messages"):
        require_safe_change(old, new)
    require_safe_change(old, Site(home=str(tmp_path), split=3, break_char=b"-", spawn=9))


def test_one_file_of_an_envelope_is_enough_to_refuse_another_layout(tmp_path: Path) -> None:
    queue(tmp_path, "queue", 3, True)
    old, new = Site(home=str(tmp_path), split=3), Site(home=str(tmp_path), split=3, layout=NETQMAIL)
    require_safe_change(old, new)
    (tmp_path / "queue/todo/0/3").touch()
    with pytest.raises(EqmailError, match="the layout"):
        require_safe_change(old, new)


def test_settings_are_never_left_in_folders_that_are_no_longer_read(tmp_path: Path) -> None:
    os.mkdir(tmp_path / "control")
    old, new = Site(home=str(tmp_path)), Site(home=str(tmp_path), layout=EQMAIL_111)
    require_safe_change(old, new)
    (tmp_path / "control/me").touch()
    with pytest.raises(EqmailError, match="would not look"):
        require_safe_change(old, new)
