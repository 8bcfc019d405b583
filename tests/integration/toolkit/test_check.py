"""`eqmail check --fix`: every fault is named, repairable ones are repaired, and then nothing is left to do."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from eqmail_core.queue.admin.transfer import survey_queue
from eqmail_core.queue.filesystem import FileSystem
from eqmail_core.queue.service.journal import Journal
from eqmail_core.site.site import Site
from eqmail_setup.cli.app import run
from eqmail_setup.errors import ExitCode
from eqmail_setup.installation.build_config import load_site
from tests.integration.toolkit.conftest import picture
from tests.unit.queue.test_admin_transfer import contents, put, some_messages


@pytest.fixture
def site(at_home: str) -> Site:
    site = load_site(at_home)
    assert site is not None
    some_messages(site, 8)
    Path(site.users, "assign").write_text(".\n")
    run(["--home", at_home, "check", "--fix"])
    return site


def faults(home: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """The findings of check about the home itself, as values."""
    capsys.readouterr()
    run(["--home", home, "check", "--json"])
    found = json.loads(capsys.readouterr().out)["findings"]
    return [item for item in found if item["path"].startswith(home)]


def _aside(path: str) -> None:
    """Put a file into the next of the numbered folders."""
    folder, name = os.path.split(path)
    top, part = os.path.split(folder)
    os.rename(path, f"{top}/{(int(part) + 1) % 2}/{name}")


def _copied(site: Site) -> None:
    """A queue that was restored from a copy: no number is an inode number any more."""
    shutil.copytree(site.queue.root, f"{site.home}/copy", copy_function=_link_or_copy)
    shutil.rmtree(site.queue.root)
    os.rename(f"{site.home}/copy", site.queue.root)


def _link_or_copy(source: str, target: str) -> None:
    if source.endswith("/trigger"):
        os.mkfifo(target)
        os.chmod(target, 0o622)
    else:
        shutil.copy2(source, target)


def _text(path: str, content: str) -> Callable[[Site], None]:
    def write(site: Site) -> None:
        Path(site.home, path).write_text(content)

    return write


def _certificate(days: float, mode: int = 0o400) -> Callable[[Site], None]:
    def make(site: Site) -> None:
        end = datetime.now(UTC) + timedelta(days=days)
        made = trustme.CA().issue_cert("mail.example.org", not_after=end, not_before=end - timedelta(days=1))
        path = Path(site.control, "servercert.pem")
        path.write_bytes(made.private_key_and_cert_chain_pem.bytes())
        path.chmod(mode)

    return make


def _first(site: Site, folder: str) -> str:
    return next(item.files[folder] for item in survey_queue(site).messages if folder in item.files)


Damage = Callable[[Site], None]


def _journal(site: Site, damage: Callable[[Path], object] = lambda path: None, mode: int = 0o600) -> None:
    """A journal as a start of the services makes it, then damaged."""
    journal = Journal(FileSystem(), site.queue.journal)
    journal.replay(1)
    journal.prepare()
    journal.close()
    damage(path := Path(site.queue.journal, "segment.0"))
    path.chmod(mode)


REPAIRED: dict[str, Damage] = {
    "mode 0777": lambda site: os.chmod(f"{site.queue.root}/mess", 0o777),
    "missing": lambda site: os.unlink(f"{site.bin}/qmail-inject"),
    "in the wrong folder": lambda site: _aside(_first(site, "info")),
    "mode 0644": lambda site: os.chmod(_first(site, "bounce"), 0o644),
    "mode 0000": lambda site: os.chmod(_first(site, "mess"), 0),
    "mode 0400": lambda site: os.chmod(_first(site, "info"), 0o400),
    "mode 0604": lambda site: _journal(site, mode=0o604),
    "mode 0640": lambda site: _pool_file(site, 0o640),
    "the inode number": _copied,
    "not what its text says": _text("users/cdb", "no database"),
    "everybody can read the private key": _certificate(300, 0o644),
}
REPORTED: dict[str, tuple[Damage, bool]] = {
    "no file of a queue": (_text("queue/mess/0/core", ""), False),
    "no program reads this file": (_text("control/nosuch", ""), False),
    "expires on": (_certificate(29), False),
    "expired on": (_certificate(-1), True),
    "has files in info, local only": (lambda site: _unowned(site), True),
    "is empty: every message that waited in it is lost": (
        lambda site: _journal(site, lambda path: os.truncate(path, 0)),
        True,
    ),
    "is cut off after 5000 bytes": (lambda site: _journal(site, lambda path: os.truncate(path, 5000)), True),
    "was damaged, and is kept for examination": (
        lambda site: _journal(site, lambda path: os.link(path, path.with_name("damaged.7"))),
        False,
    ),
    "not a number": (_text("control/databytes", "many\n"), True),
    "line 1: 'nobody:x' is no entry": (_text("users/assign", "nobody:x\n.\n"), True),
    "is no rule": (_text("control/tcprules", "1.2.3.4:perhaps\n"), True),
}


def _pool_file(site: Site, mode: int) -> None:
    (path := Path(site.queue.pid, "pool.1")).touch()
    path.chmod(mode)


def _unowned(site: Site) -> None:
    for folder in ("info", "local"):
        Path(site.queue.root, folder, "1", "99999999999").touch(0o600)


@pytest.mark.parametrize("fault", REPAIRED)
def test_what_can_be_repaired_is_repaired_once(site: Site, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert faults(site.home, capsys) == []
    before = contents(site)
    REPAIRED[fault](site)
    found = faults(site.home, capsys)
    assert found
    assert all(fault in str(item["message"]) and item["fixable"] for item in found)
    there = picture(site.home)
    assert run(["--home", site.home, "check", "--fix", "--dry-run"]) == 0
    assert picture(site.home) == there, "a rehearsal changes nothing"
    run(["--home", site.home, "check", "--fix"])
    assert faults(site.home, capsys) == []
    assert contents(site) == before
    assert all(
        os.stat(item.files["mess"]).st_ino == int(item.stamp.split(".")[0]) for item in survey_queue(site).messages
    )
    run(["--home", site.home, "check", "--fix"])
    assert "No changes needed." in capsys.readouterr().out


@pytest.mark.parametrize("fault", REPORTED)
def test_what_needs_an_administrator_is_reported_and_left(
    site: Site, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, is_wrong = REPORTED[fault]
    damage(site)
    there = picture(site.home)
    code = run(["--home", site.home, "check", "--fix"])
    assert picture(site.home) == there
    (found,) = faults(site.home, capsys)
    assert fault in str(found["message"])
    assert not found["fixable"]
    assert (found["severity"] == "error") is is_wrong
    assert code == ExitCode.PROBLEMS or not is_wrong


def test_while_the_scheduler_runs_the_queue_is_only_read(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    _aside(_first(site, "info"))
    with open(site.queue.sendmutex, "w") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)
        assert run(["--home", site.home, "check", "--fix"]) == ExitCode.PROBLEMS
        (found,) = faults(site.home, capsys)
    assert str(found["expected"]).endswith("stop the services, then: eqmail check --fix")


def test_a_recorded_warning_survives(site: Site) -> None:
    """info/N is executable after a delay warning; repairing its owner keeps that."""
    number = put(site, b"x", 5, info=b"F\0", remote=b"Ta@b\0")
    os.chmod(site.queue.info(number), 0o700)
    os.chmod(site.queue.channel("remote", number), 0o666)
    run(["--home", site.home, "check", "--fix"])
    assert os.stat(site.queue.info(number)).st_mode & 0o777 == 0o700
    assert os.stat(site.queue.channel("remote", number)).st_mode & 0o777 == 0o600


def test_the_fix_can_be_rolled_back(site: Site) -> None:
    Path(site.control, "morercpthosts").write_text("many.example\n")
    run(["--home", site.home, "check", "--fix"])
    assert os.path.exists(f"{site.control}/morercpthosts.cdb")
    assert run(["--home", site.home, "rollback"]) == 0
    assert not os.path.exists(f"{site.control}/morercpthosts.cdb")


def test_a_crlf_file_is_repaired_and_keeps_its_mode(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(at_home, "control/rcpthosts")
    path.write_bytes(b"\xef\xbb\xbf# mine\r\nmail.example.org\r\n")
    path.chmod(0o640)
    assert run(["--home", at_home, "check"]) == ExitCode.PROBLEMS
    assert "rcpthosts: begins with a byte order mark" in capsys.readouterr().out
    assert run(["--home", at_home, "check", "--fix"]) == 0
    assert path.read_bytes() == b"# mine\nmail.example.org\n"
    assert path.stat().st_mode & 0o777 == 0o640
