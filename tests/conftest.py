"""Installations for the tests: one with real accounts (root), and private ones in which the caller plays every role."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from eqmail_core.system.repeated_lines import forget_repeated

if TYPE_CHECKING:
    from tests.support.database import Cluster

# The time of one example depends on the machine more than on the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
if not os.access(Path(__file__).parents[1], os.W_OK):
    settings.register_profile("any machine", settings.get_profile("any machine"), database=None)
settings.load_profile("any machine")


# Files whose tests start many processes: `make check` leaves them to ./test, to stay under a minute.
SLOW_FILES = {
    "system/test_filters.py",
    "system/test_queue_tools.py",
    "system/test_dsn.py",
    "interop/test_dovecot.py",
    "interop/test_local_programs.py",
    "integration/smtpd/test_control_bytes.py",
    "integration/filters/test_milters.py",
    "integration/filters/test_python_checks.py",
    "integration/smtpd/test_policy.py",
    "integration/smtpd/test_smuggling.py",
    "integration/toolkit/test_service_files_recorded.py",
    "integration/local/test_recipient_lookup.py",
    "integration/local/test_program.py",
    "integration/queue/test_service.py",
    "integration/remote/test_every_stage.py",
    "integration/remote/test_tls.py",
    "integration/toolkit/test_aliases.py",
    "integration/toolkit/test_bad_input.py",
    "integration/toolkit/test_check.py",
    "integration/toolkit/test_config.py",
    "integration/toolkit/test_confirmation.py",
    "integration/toolkit/test_demo.py",
    "integration/toolkit/test_doctor.py",
    "integration/toolkit/test_every_command.py",
    "integration/toolkit/test_history.py",
    "integration/toolkit/test_import.py",
    "integration/toolkit/test_manual.py",
    "integration/toolkit/test_mksrvrcerts.py",
    "integration/toolkit/test_progress.py",
    "integration/toolkit/test_screens.py",
    "integration/toolkit/test_staging.py",
    "integration/toolkit/test_users.py",
    "unit/queue/test_admin_transfer.py",
}
TESTS = Path(__file__).resolve().parent
SCRATCH, KEPT_S = "eqt", 86400
"""How scratch folders of runs are named, and how long those of failed ones stay."""

_OWN_SCRATCH = pytest.StashKey[bool]()


def _remove_old_scratch() -> None:
    """Remove what runs that failed left a day ago: it is gigabytes."""
    for path in Path("/tmp").glob(f"{SCRATCH}????????"):
        try:
            status = path.lstat()
        except OSError:
            continue
        if status.st_uid == os.getuid() and status.st_mtime < time.time() - KEPT_S:
            shutil.rmtree(path, ignore_errors=True)


def pytest_configure(config: pytest.Config) -> None:
    """Scratch folders with short paths for every account: the path of a socket has at most 107 bytes."""
    if not config.option.basetemp and not hasattr(config, "workerinput"):
        _remove_old_scratch()
        config.option.basetemp = tempfile.mkdtemp(prefix=SCRATCH, dir="/tmp")
        config.stash[_OWN_SCRATCH] = True


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """What failed stays to be looked at."""
    if exitstatus == 0 and session.config.stash.get(_OWN_SCRATCH, False):
        shutil.rmtree(session.config.option.basetemp, ignore_errors=True)


@pytest.fixture(autouse=True)
def ways_of_the_process() -> Iterator[None]:
    """Put back what programs set for the whole process, because in some tests they run in ours."""
    mask, pipe = os.umask(0o022), signal.getsignal(signal.SIGPIPE)
    forget_repeated()
    yield
    os.umask(mask)
    signal.signal(signal.SIGPIPE, pipe)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without root, the tests that need real accounts cannot run; ./test says so at its end."""
    for item in items:
        if str(item.path.relative_to(TESTS)) in SLOW_FILES:
            item.add_marker(pytest.mark.slow)
    if os.geteuid() != 0:
        no_root = pytest.mark.skip(reason="needs root: real accounts")
        for item in items:
            if item.get_closest_marker("root"):
                item.add_marker(no_root)


def eqmail(*words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the `eqmail` command of this interpreter."""
    command = [sys.executable, "-m", "eqmail_setup", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


@pytest.fixture(scope="session")
def real_home() -> Iterator[Path]:
    """An installation with real accounts, in a folder that every account can reach."""
    home = Path(tempfile.mkdtemp(prefix="eqmail-home-", dir="/tmp"))
    home.chmod(0o755)
    users = eqmail("mkusers")
    assert users.returncode == 0, users.stderr
    _make_home_of_aliases()
    made = eqmail("--home", home, "setup")
    assert made.returncode == 0, made.stdout + made.stderr
    named = eqmail("--home", home, "config-fast", "mail.example.org")
    assert named.returncode == 0, named.stdout + named.stderr
    yield home
    shutil.rmtree(home, ignore_errors=True)


def _make_home_of_aliases() -> None:
    """The account of the aliases has a home that no setup has made on this machine; as the account, it stays."""
    account = pwd.getpwnam("alias")
    home = Path(account.pw_dir)
    if not home.exists():
        home.mkdir(mode=0o755, parents=True, exist_ok=True)
        os.chown(home, account.pw_uid, account.pw_gid)


@pytest.fixture
def private_home(tmp_path: Path) -> Path:
    """A single-user installation of the caller."""
    home = tmp_path / "home"
    made = eqmail("--home", home, "setup", "--single-user")
    assert made.returncode == 0, made.stdout + made.stderr
    named = eqmail("--home", home, "config-fast", "mail.example.org")
    assert named.returncode == 0, named.stdout + named.stderr
    return home


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Cluster"]:
    """A PostgreSQL for the tests of a module."""
    from tests.support.database import programs, running_cluster

    if programs() is None:
        pytest.skip("needs PostgreSQL")
    with running_cluster(tmp_path_factory.mktemp("pg"), "fsync = off") as made:
        yield made
