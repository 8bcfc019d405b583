"""Every recorded case of the C programs, run against ours; one test per kind (tests/data/golden/README.md)."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
CASES = HERE.parent / "data/golden"

# Cases that need what is not built yet, by kind: patterns for `--case`, each with its reason in docs/why.md.
KINDS = sorted(path.name for path in CASES.iterdir() if path.is_dir())


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
def test_recorded_cases_of(kind: str, real_home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    scratch = tmp_path_factory.mktemp(kind)
    for folder in (scratch, *scratch.parents):
        if folder.owner() == "root" and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    command = [sys.executable, "-B", HERE / "check_golden.py", "--bin", real_home / "bin", "--kind", kind]
    run = subprocess.run(
        [*map(str, command), "--home", str(scratch), "--cases", str(CASES)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
