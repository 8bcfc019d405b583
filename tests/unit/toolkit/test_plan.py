"""Setup and check use one manifest: damage is reported and repaired, then nothing is left to do."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from eqmail_core.site.layout import LAYOUTS
from eqmail_core.site.site import Site
from eqmail_setup.errors import Severity
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.manifest import installation_manifest
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
from eqmail_setup.transaction.operations import Operation
from eqmail_setup.transaction.plan import Change, apply_changes, compare_with_manifest
from eqmail_setup.transaction.staged_filesystem import StagedFilesystem

SPLIT = 3


def silent(action: Operation) -> None:
    """Report nothing."""


def private(home: Path, layout: str = "eqmail-1.09", split: int = SPLIT) -> Site:
    return Site(home=str(home), single_user=True, split=split, layout=LAYOUTS[layout])


def differences(site: Site) -> list[Change]:
    return compare_with_manifest(installation_manifest(site, caller(), staged=True), DiskFilesystem(site.home))


def repair(site: Site) -> int:
    return apply_changes(differences(site), DiskFilesystem(site.home), silent)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = private(tmp_path / "home")
    assert repair(made) > 0
    return made


@pytest.mark.parametrize("layout", LAYOUTS)
def test_after_setup_nothing_is_left_to_do(tmp_path: Path, layout: str) -> None:
    site = private(tmp_path / "home", layout)
    assert repair(site) > 0
    assert differences(site) == []


def test_only_the_layouts_of_eqmail_split_new_envelopes(tmp_path: Path) -> None:
    for layout, split in (("eqmail-1.09", True), ("netqmail", False)):
        site = private(tmp_path / layout, layout)
        repair(site)
        assert os.path.isdir(f"{site.queue.root}/todo/0") is split
        assert os.path.getsize(site.queue.tcpto) == (2048 if split else 1024)


def _remove(path: str) -> None:
    os.rmdir(path) if os.path.isdir(path) else os.unlink(path)


DAMAGES: list[tuple[str, Callable[[str], None], str]] = [
    ("queue/mess", lambda path: os.chmod(path, 0o755), "mode 0755, expected 0750"),
    ("queue/mess/1", lambda path: os.chmod(path, 0o777), "mode 0777, expected 0750"),
    ("queue/bounce", _remove, "missing, expected directory"),
    ("queue/lock/trigger", _remove, "missing, expected named pipe"),
    ("queue/lock/tcpto", lambda path: Path(path).write_bytes(bytes(1024)), "1024 bytes, expected 2048 bytes"),
    ("bin/qmail-start", lambda path: os.chmod(path, 0o755), "mode 0755, expected 0700"),
    ("bin/config-fast", _remove, "missing, expected file"),
    ("alias", lambda path: os.chmod(path, 0o755), "mode 0755, expected 2755"),
    ("queue/info/7", os.mkdir, "directory beyond the split, expected absent"),
]


@pytest.mark.parametrize(("path", "damage", "sentence"), DAMAGES, ids=[f"{path}" for path, _, _ in DAMAGES])
def test_damage_is_reported_and_repaired(site: Site, path: str, damage: Callable[[str], None], sentence: str) -> None:
    damage(f"{site.home}/{path}")
    (found,) = differences(site)
    assert found.line().startswith(f"{site.home}/{path}: {sentence}")
    assert repair(site) == 1
    assert differences(site) == []


def test_the_state_of_a_running_system_is_left_alone(site: Site) -> None:
    Path(site.queue.tcpto).write_bytes(b"\x01" * 2048)
    before = os.stat(site.queue.trigger).st_ino
    assert repair(site) == 0
    assert Path(site.queue.tcpto).read_bytes() == b"\x01" * 2048
    assert os.stat(site.queue.trigger).st_ino == before


def test_an_edited_program_is_kept_and_named(site: Site) -> None:
    program = Path(site.bin, "config-fast")
    edited = program.read_bytes() + b"# mine\n"
    program.write_bytes(edited)
    (found,) = differences(site)
    assert (found.severity, found.operation) == (Severity.WARNING, None)
    assert repair(site) == 0
    assert program.read_bytes() == edited


def test_a_script_that_setup_did_not_write_is_kept(site: Site) -> None:
    program = Path(site.bin, "config-fast")
    program.write_bytes(b"#!/bin/sh\nexec true\n")
    assert repair(site) == 0
    assert program.read_bytes() == b"#!/bin/sh\nexec true\n"


def test_a_link_that_the_administrator_made_in_the_place_of_a_program_is_kept(site: Site) -> None:
    program = Path(site.bin, "config-fast")
    program.unlink()
    program.symlink_to("mkusers")
    (found,) = differences(site)
    assert found.severity is Severity.WARNING
    assert repair(site) == 0
    assert program.is_symlink()


def test_a_compiled_program_of_another_qmail_is_set_aside_without_its_rights(site: Site) -> None:
    program = Path(site.bin, "config-fast")
    program.write_bytes(b"\x7fELF old")
    program.chmod(0o4711)
    assert repair(site) == 1
    aside = Path(f"{program}.before-eqmail")
    assert aside.read_bytes() == b"\x7fELF old"
    assert aside.stat().st_mode & 0o7777 == 0o600
    assert differences(site) == []


def test_a_program_that_setup_wrote_for_another_home_is_renewed(site: Site, tmp_path: Path) -> None:
    elsewhere = private(tmp_path / "elsewhere")
    repair(elsewhere)
    program = Path(site.bin, "config-fast")
    program.write_bytes(Path(elsewhere.bin, "config-fast").read_bytes())
    assert repair(site) == 1
    assert os.fsencode(site.home) in program.read_bytes()


def test_a_directory_may_be_a_link_of_the_administrator(site: Site, tmp_path: Path) -> None:
    real = tmp_path / "settings"
    os.rename(site.control, real)
    os.symlink(real, site.control)
    assert differences(site) == []


def test_a_file_in_place_of_a_directory_is_reported_and_stops_nothing(site: Site) -> None:
    os.rmdir(f"{site.home}/doc")
    Path(site.home, "doc").write_text("notes\n")
    (found,) = differences(site)
    assert found.operation is None
    assert found.severity is Severity.ERROR
    assert "file, expected directory; move it away" in found.line()
    assert repair(site) == 0


def test_a_smaller_split_removes_the_directories_beyond_it(site: Site) -> None:
    smaller = private(Path(site.home), split=2)
    repair(smaller)
    assert sorted(os.listdir(f"{site.queue.root}/mess")) == ["0", "1"]
    assert differences(smaller) == []


def test_staging_needs_no_privilege_and_records_owners(tmp_path: Path) -> None:
    site = Site(home="/var/qmail", split=SPLIT)
    nodes = installation_manifest(site, caller(), staged=True)
    world = StagedFilesystem(site.home, str(tmp_path))
    assert apply_changes(compare_with_manifest(nodes, world), world, silent) > 0
    world.sync()
    manifest = (tmp_path / "eqmail.manifest").read_text().splitlines()
    assert "0700 qmails qmail /var/qmail/queue/info/2" in manifest
    assert "0622 qmails qmail /var/qmail/queue/lock/trigger" in manifest
    assert "0755 root qmail /var/qmail/bin/qmail-queue" in manifest
    assert "2755 alias qmail /var/qmail/alias" in manifest
    again = StagedFilesystem(site.home, str(tmp_path))
    assert compare_with_manifest(nodes, again) == []
    assert not [line for line in manifest if str(tmp_path) in line]
