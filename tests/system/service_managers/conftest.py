"""One installation with real accounts for all service managers, and what each of them needs of the system."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import eqmail
from tests.support.service_managers import ManagedInstallation

NOBODY = 65534


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these need root, real programs, and some seconds."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.root)
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def settled_home(real_home: Path) -> Path:
    """The installation, with one user who has a Maildir."""
    box = real_home / "people/ann"
    for name in ("", "Maildir", "Maildir/tmp", "Maildir/new", "Maildir/cur"):
        (box / name).mkdir(mode=0o755, parents=True, exist_ok=True)
        os.chown(box / name, NOBODY, NOBODY)
    (box / ".qmail").write_text("./Maildir/\n")
    (real_home / "users/assign").write_text(f"=ann:nobody:{NOBODY}:{NOBODY}:{box}:::\n.\n")
    os.chmod(real_home / "users/assign", 0o644)
    made = os.spawnv(os.P_WAIT, real_home / "bin/qmail-newu", ["qmail-newu"])
    assert made == 0
    return real_home


@pytest.fixture
def installation(settled_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagedInstallation]:
    """A free port, a scratch folder that every account can reach, and a look round at the end: nothing may be left."""
    folder = Path(f"/tmp/eqmail-services-{os.getpid()}")
    folder.mkdir(mode=0o755)
    installation = ManagedInstallation(settled_home, folder, eqmail)
    yield installation
    try:
        left = installation.processes()
        installation.end_all()
        assert not left, f"still there: {left}"
    finally:
        shutil.rmtree(folder)
