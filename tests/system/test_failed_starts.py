"""A start that cannot work fails at once, and its last line names the file."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.mail_system import free_port

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.mark.parametrize(
    "name", ["control/me", "control/databytes", "control/timeoutremote", "queue/journal/segment.1"]
)
def test_a_start_that_cannot_work_fails_and_names_the_file(real_home: Path, name: str) -> None:
    path = real_home / name
    content = path.read_bytes() if path.exists() else None
    before = path.stat() if content is not None else None
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if content is None:
        path.write_bytes(b"")
    os.chown(path, 0, 0)
    path.chmod(0o600)
    run = subprocess.run(
        [real_home / "bin/qmail-start", "--smtp", f"127.0.0.1:{free_port()}", "./Maildir/"],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    if before is None:
        path.unlink()
    else:
        os.chown(path, before.st_uid, before.st_gid)
        path.chmod(before.st_mode & 0o7777)
    assert run.returncode == 111
    (last,) = run.stderr.splitlines()[-1:]
    assert last.startswith("qmail-start: fatal: ") and f"{path}: Permission denied" in last, run.stderr
