"""Ways into the queue of a qmail where nothing runs any more are found; those of a qmail that runs are left alone."""

import fcntl
import os
from pathlib import Path

import pytest

from eqmail_core.site.site import Site
from eqmail_setup.cli.app import run
from eqmail_setup.diagnostics.checks import old_programs, start_scripts
from eqmail_setup.diagnostics.checks.old_programs import old_ways
from eqmail_setup.diagnostics.finding import ERROR
from tests.integration.toolkit.test_import import old_home


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A stopped qmail with programs, and a host whose links all lie below one folder."""
    site = old_home(tmp_path / "old", 0)
    for name in ("sendmail", "qmail-queue", "qmail-inject", "qmail-start"):
        Path(site.home, "bin").mkdir(exist_ok=True)
        Path(site.home, "bin", name).write_text("#!/bin/sh\n")
    (tmp_path / "sbin").mkdir()
    monkeypatch.setattr(old_programs, "LINKS", (f"{tmp_path}/sbin/sendmail", f"{tmp_path}/sbin/qmail-inject"))
    monkeypatch.setattr(old_programs, "USUAL_HOMES", ())
    monkeypatch.setattr(start_scripts, "PLACES", (f"{tmp_path}/service/*/run",))
    monkeypatch.setattr(old_programs, "OTHER_SCRIPTS", (f"{tmp_path}/cron",))
    return site


@pytest.fixture
def site(at_home: str) -> Site:
    return Site(home=at_home, single_user=True)


def names(site: Site, *homes: str) -> list[str]:
    return [item.id for item in old_ways(site, homes)]


def test_sendmail_of_a_qmail_where_nothing_runs_is_found(tmp_path: Path, old: Site, site: Site) -> None:
    assert names(site) == []
    link = tmp_path / "sbin/sendmail"
    link.symlink_to(f"{old.home}/bin/sendmail")
    (found,) = old_ways(site)
    assert (found.id, found.severity) == ("programs.link", ERROR)
    assert f"{link}: leads to {old.home}/bin/sendmail" in found.message
    assert found.command == ("ln", "-sf", f"{site.bin}/sendmail", str(link))
    link.unlink()
    link.symlink_to(f"{site.bin}/sendmail")
    assert names(site) == []


def test_a_running_qmail_is_not_reported(tmp_path: Path, old: Site, site: Site) -> None:
    (tmp_path / "sbin/sendmail").symlink_to(f"{old.home}/bin/sendmail")
    with open(old.queue.sendmutex, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert names(site) == []
    assert names(site) == ["programs.link"]


def test_scripts_and_instructions_that_name_the_old_programs_are_found(tmp_path: Path, old: Site, site: Site) -> None:
    (tmp_path / "cron").write_text(f"# {old.home}/bin/qmail-inject\n0 4 * * * joe {old.home}/bin/sendmail -t\n")
    (tmp_path / "service/qmail").mkdir(parents=True)
    (tmp_path / "service/qmail/run").write_text(f"#!/bin/sh\nexec {old.home}/bin/qmail-start ./Mailbox\n")
    Path(site.alias, ".qmail-list").write_text(f"|{old.home}/bin/forward joe\n")
    os.symlink("/dev/zero", f"{site.alias}/.qmail-endless")
    assert names(site) == []
    found = list(old_ways(site, [old.home]))
    assert [item.id for item in found] == ["programs.script", "programs.script", "programs.instruction"]
    assert f"{tmp_path}/cron: names {old.home}/bin/sendmail" in found[0].message
    assert names(site, old.home, old.home, f"{old.home}/.") == names(site, old.home)


def test_the_usual_home_is_looked_for_without_a_link(old: Site, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_programs, "USUAL_HOMES", (old.home,))
    (found,) = old_ways(site)
    assert found.id == "programs.home" and found.suggestion.endswith(f"ln -s {site.bin} {old.home}/bin")


def test_import_check_and_doctor_say_so(
    tmp_path: Path, old: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    new = str(tmp_path / "new")
    (tmp_path / "sbin/sendmail").symlink_to(f"{old.home}/bin/sendmail")
    (tmp_path / "cron").write_text(f"0 4 * * * joe {old.home}/bin/sendmail -t\n")
    monkeypatch.chdir(tmp_path)
    output = {}
    for words in (["import", old.home, "--single-user"], ["check"], ["doctor", "--offline"]):
        capsys.readouterr()
        run(["--home", new, *words])
        output[words[0]] = capsys.readouterr().out
    for command, text in output.items():
        assert f"{tmp_path}/sbin/sendmail: leads to {old.home}/bin/sendmail" in text, command
        assert f"{tmp_path}/cron: names {old.home}/bin/sendmail" in text, command
