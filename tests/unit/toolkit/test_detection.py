"""What setup finds of an older qmail, and the changes that it refuses for the sake of queued mail."""

import fcntl
import os
from pathlib import Path

import pytest

from eqmail_core.site.layout import EQMAIL_111, NETQMAIL
from eqmail_core.site.site import Site
from eqmail_setup.errors import Refusal
from eqmail_setup.installation.detection import demand_harmless, found_site


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
def test_the_queue_of_a_c_qmail_tells_layout_and_split(
    tmp_path: Path, folder: str, split: int, split_todo: bool, layout: str
) -> None:
    queue(tmp_path, folder, split, split_todo)
    site = found_site(str(tmp_path))
    assert site is not None
    assert (site.layout.name, site.split) == (layout, split)


def test_an_empty_home_tells_nothing(tmp_path: Path) -> None:
    assert found_site(str(tmp_path)) is None


def test_the_split_may_change_while_the_queue_is_empty_and_nobody_works_in_it(tmp_path: Path) -> None:
    queue(tmp_path, "queue", 3, True)
    old, new = Site(home=str(tmp_path), split=3), Site(home=str(tmp_path), split=5)
    demand_harmless(old, new)
    with open(tmp_path / "queue/lock/sendmutex", "w") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)
        with pytest.raises(Refusal, match="while qmail-send runs"):
            demand_harmless(old, new)
    (tmp_path / "queue/mess/1/4711").touch()
    with pytest.raises(Refusal, match=r"the split \(3 to 5\) cannot change while 1 messages"):
        demand_harmless(old, new)
    demand_harmless(old, Site(home=str(tmp_path), split=3, break_char=b"-", spawn=9))


def test_one_file_of_an_envelope_is_enough_to_refuse_another_layout(tmp_path: Path) -> None:
    queue(tmp_path, "queue", 3, True)
    old, new = Site(home=str(tmp_path), split=3), Site(home=str(tmp_path), split=3, layout=NETQMAIL)
    demand_harmless(old, new)
    (tmp_path / "queue/todo/0/3").touch()
    with pytest.raises(Refusal, match="the layout"):
        demand_harmless(old, new)


def test_settings_are_never_left_behind_in_folders_that_nobody_reads_any_more(tmp_path: Path) -> None:
    os.mkdir(tmp_path / "control")
    old, new = Site(home=str(tmp_path)), Site(home=str(tmp_path), layout=EQMAIL_111)
    demand_harmless(old, new)
    (tmp_path / "control/me").touch()
    with pytest.raises(Refusal, match="would not look"):
        demand_harmless(old, new)
