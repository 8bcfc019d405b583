"""import, export and check --fix below a staging root: nothing else is touched, owners go into the manifest."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from eqmail_core.queue.admin.transfer import survey_queue
from eqmail_core.site.layout import LAYOUTS
from eqmail_core.site.site import Site
from eqmail_setup.cli.app import run
from eqmail_setup.errors import ExitCode
from eqmail_setup.installation.build_config import load_site
from tests.integration.toolkit.conftest import picture
from tests.integration.toolkit.test_import import SETTINGS, old_home
from tests.support.isolated_root import ROOT
from tests.unit.queue.test_admin_transfer import contents

HOME = "/srv/new/qmail"


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """A root below which an old home, with messages of which some are new, is imported."""
    old_home(tmp_path / "old", 8)
    assert run(["--home", HOME, "import", str(tmp_path / "old"), "--root", str(tmp_path / "stage")]) == 0
    return tmp_path / "stage"


def manifest(stage: Path) -> dict[str, str]:
    """Mode and owners by path."""
    lines = (stage / "eqmail.manifest").read_text().splitlines()
    return {line.split(" ", 3)[3]: line.rsplit(" ", 1)[0] for line in lines}


def site_below(stage: Path) -> Site:
    site = load_site(f"{stage}{HOME}")
    assert site is not None
    return site


def test_an_import_is_staged_with_its_messages(tmp_path: Path, stage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not os.path.exists(HOME)
    old = Site(home=str(tmp_path / "old"), layout=LAYOUTS["netqmail"], split=7)
    site = site_below(stage)
    assert contents(site) == contents(old)
    assert Path(site.control, "me").read_text() == SETTINGS["me"]
    owners = manifest(stage)
    assert owners[f"{HOME}/queue/mess/0"] == "0750 qmailq qmail"
    for message in survey_queue(site).messages:
        for folder, path in message.files.items():
            owner = "0644 qmailq qmail" if folder in ("mess", "todo") else "0600 qmails qmail"
            assert owners[path.removeprefix(str(stage))] == owner
    assert all(os.path.lexists(f"{stage}{path}") for path in owners)
    for folder, _, files in os.walk(stage):
        for name in files:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink() and name != ".setup.lock":
                assert str(stage).encode() not in path.read_bytes(), path
    capsys.readouterr()
    assert run(["--home", HOME, "import", old.home, "--root", str(stage)]) == 0
    assert "No changes needed." in capsys.readouterr().out


def test_a_staged_import_is_remembered_where_it_is_put_in_place(tmp_path: Path, stage: Path) -> None:
    """The book of what was copied is found again under the home's own name, so that nothing comes twice."""
    there = tmp_path / "there"
    assert run(["--home", str(there), "import", str(tmp_path / "old"), "--root", str(stage), "--single-user"]) == 0
    os.rename(f"{stage}{there}", there)
    before = contents(Site(home=str(there), split=7))
    assert len(before) == 8
    assert run(["--home", str(there), "import", str(tmp_path / "old")]) == 0
    assert contents(Site(home=str(there), split=7)) == before


def test_an_export_is_staged_and_the_installation_stays_as_it_is(
    at_home: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old_home(tmp_path / "old", 8)
    assert run(["--home", at_home, "import", str(tmp_path / "old")]) == 0
    before = picture(at_home)
    stage = tmp_path / "stage"
    words = ["--home", at_home, "export", "--to", "netqmail", "/srv/back", "--root", str(stage)]
    assert run([*words, "--dry-run"]) == 0
    assert not stage.exists()
    assert run(words) == 0
    assert picture(at_home) == before
    back = Site(home=f"{stage}/srv/back", layout=LAYOUTS["netqmail"], split=2)
    assert contents(back) == contents(Site(home=at_home, split=2))
    assert f"{at_home}/history" in manifest(stage)
    assert "/srv/back/queue/lock/trigger" in manifest(stage)
    capsys.readouterr()
    assert run(words) == 0
    assert "No changes needed." in capsys.readouterr().out
    assert run([*words, "--move"]) == ExitCode.USAGE
    assert "what is staged is a copy" in capsys.readouterr().err


def test_a_staged_home_is_checked_and_repaired(stage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--home", HOME, "check", "--root", str(stage)]
    site = site_below(stage)
    capsys.readouterr()
    assert run(words) in (0, ExitCode.PROBLEMS)
    assert f"{stage}{HOME}/queue" not in capsys.readouterr().out
    message = survey_queue(site).messages[0]
    aside = f"{site.queue.root}/mess/{(int(os.path.basename(os.path.dirname(message.files['mess']))) + 1) % 7}"
    os.rename(message.files["mess"], f"{aside}/{os.path.basename(message.files['mess'])}")
    os.unlink(f"{site.bin}/qmail-send")
    os.chmod(f"{site.control}/me", 0o644)
    before = contents(site)
    assert run([*words, "--fix", "--dry-run"]) == 0
    assert not os.path.exists(f"{site.bin}/qmail-send")
    assert run([*words, "--fix"]) in (0, ExitCode.PROBLEMS)
    assert os.path.exists(f"{site.bin}/qmail-send")
    assert b"/stage" not in Path(site.bin, "qmail-send").read_bytes()
    assert os.path.exists(message.files["mess"])
    assert contents(site) == before
    capsys.readouterr()
    assert run([*words, "--fix"]) in (0, ExitCode.PROBLEMS)
    assert "No changes needed." in capsys.readouterr().out


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder of the user nobody."""
    folder = Path(tempfile.mkdtemp(prefix="eqmail-stage-", dir="/tmp"))
    shutil.chown(folder, "nobody", 65534)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.root
def test_staging_needs_no_root(open_folder: Path) -> None:
    """The user nobody imports what it can read, checks, and exports again."""
    old_home(open_folder / "old", 4)
    subprocess.run(["chown", "-R", "nobody", open_folder / "old"], check=True)

    def as_nobody(*words: str) -> str:
        command = [sys.executable, "-m", "eqmail_setup", "--home", HOME, *words, "--root", f"{open_folder}/stage"]
        ended = subprocess.run(
            command, user="nobody", group=65534, extra_groups=[], cwd=ROOT, env={}, capture_output=True, text=True
        )
        assert ended.returncode in (0, ExitCode.PROBLEMS), ended.stderr
        return ended.stdout

    as_nobody("import", f"{open_folder}/old")
    owners = manifest(open_folder / "stage")
    assert {line.split(" ")[1] for path, line in owners.items() if "/mess/" in path} == {"qmailq"}
    assert f"{open_folder}/stage{HOME}/queue" not in as_nobody("check")
    assert "No changes needed." in as_nobody("check", "--fix")
    assert not os.path.exists(HOME)


def test_programs_are_looked_for_below_the_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home, stage = "/var/eqmail-of-a-package", str(tmp_path / "stage")
    assert run(["--home", home, "setup", "--root", stage]) == 0
    assert run(["--home", home, "config-fast", "mail.example.org", "--root", stage]) == 0
    words = ["config", "set", "smtpcheckpw", f"{home}/bin/qmail-chkpw /bin/true", "--root", stage]
    assert run(["--home", home, *words]) == 0
    capsys.readouterr()
    run(["--home", home, "check", "--root", stage])
    assert "smtpcheckpw" not in capsys.readouterr().out
