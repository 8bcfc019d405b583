"""The texts of service files are the recorded ones, parse, and pass the checkers of their kind."""

import shutil
import subprocess
from pathlib import Path

import pytest

from eqmail_setup.installation.managed_file import Origin, origin_of
from eqmail_setup.templating import template_names
from tests.support.service_file_cases import CASES, RECORDED, pieces_of, recorded, texts_of

SCRIPTS = sorted(path for path in recorded() if path.read_bytes().startswith(b"#!"))


@pytest.mark.parametrize("name", CASES)
def test_service_files_are_the_recorded_ones(name: str, tmp_path: Path) -> None:
    folder = RECORDED / name
    there = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert texts_of(CASES[name], tmp_path) == there


def test_every_recording_belongs_to_a_case() -> None:
    assert {path.name for path in RECORDED.iterdir() if path.is_dir()} == set(CASES)


def test_every_template_of_a_service_file_is_recorded(tmp_path: Path) -> None:
    included = {"services/delivery.j2", "services/smtp-words.j2", "services/variables.j2"}
    used = {piece.template for case in CASES.values() for piece in pieces_of(case, tmp_path) if piece.template}
    assert used | included == {name for name in template_names() if name.startswith("services/")}


def test_every_service_file_is_sealed() -> None:
    assert {origin_of(path.read_bytes()) for path in recorded()} == {Origin.MANAGED}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(RECORDED)))
def test_scripts_parse(path: Path) -> None:
    assert subprocess.run(["sh", "-n", path]).returncode == 0


def test_shellcheck_finds_nothing() -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed; ./test installs it as root")
    found = subprocess.run(["shellcheck", *SCRIPTS], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("content", [None, "", "\n", "./Maildir/\n"])
def test_an_empty_default_delivery_is_none(tmp_path: Path, content: str | None) -> None:
    """What a unit gives to qmail-start; the scripts do the same with the text of delivery.j2."""
    unit = (RECORDED / "systemd/eqmail.service").read_text()
    line = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    command = line.partition(" -c ")[2][1:-1].replace('\\"', '"').replace("$$", "$")
    command = command.replace("/srv/qmail/control", str(tmp_path)).replace("/srv/qmail/bin/qmail-start", "printf %s")
    if content is not None:
        (tmp_path / "defaultdelivery").write_text(content)
    given = subprocess.run(["sh", "-c", command.replace("exec ", "")], capture_output=True, text=True).stdout
    assert given == ((content or "").strip() or "./Mailbox")


def test_a_single_user_caller_keeps_its_user(tmp_path: Path) -> None:
    """In a single-user installation no file names an account."""
    for case in CASES.values():
        for place, text in texts_of(case, tmp_path, single_user=True).items():
            assert b"qmaild" not in text.replace(b"qmail-start", b""), place
            assert b"qmaill" not in text, place
