"""Check names what keeps users from running the programs, or lets others change what root runs."""

from pathlib import Path

import pytest

import eqmail_setup.installation.runtime_access
from eqmail_setup.installation.runtime_access import is_accessible


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only path that is checked, in a folder that every account can reach."""
    folder = tmp_path / "closed/package"
    folder.mkdir(parents=True)
    for step in (folder, folder.parent, tmp_path):
        step.chmod(0o755)
    steps = eqmail_setup.installation.runtime_access._steps
    monkeypatch.setattr(
        eqmail_setup.installation.runtime_access,
        "_steps",
        lambda path: [step for step in steps(path) if step.startswith(str(tmp_path))],
    )
    monkeypatch.setattr(eqmail_setup.installation.runtime_access, "interpreter", lambda: str(folder))
    monkeypatch.setattr(eqmail_setup.installation.runtime_access, "folders", list)
    return folder


def test_an_open_folder_of_our_own_is_no_difference(package: Path) -> None:
    assert [item for item in is_accessible(single_user=False) if str(package.parent) in item.path] == []


def test_a_closed_folder_on_the_way_is_named_with_the_remedy(package: Path) -> None:
    package.parent.chmod(0o700)
    (found,) = [item for item in is_accessible(single_user=False) if item.path == str(package.parent)]
    assert found.found.startswith("mode 0700 keeps users and services from")
    assert "run setup from a virtual environment that all can read" in found.expected


def test_a_world_writable_folder_is_named(package: Path) -> None:
    package.chmod(0o777)
    assert "everybody may change what root runs" in [
        item.found for item in is_accessible(single_user=False) if item.path == str(package)
    ]


def test_a_single_user_installation_needs_no_other_accounts(package: Path) -> None:
    package.parent.chmod(0o700)
    assert is_accessible(single_user=True) == []
