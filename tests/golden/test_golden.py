"""Every recorded case of the C programs, run against ours; one test per kind (tests/data/golden/README.md)."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.requirements import lack

HERE = Path(__file__).resolve().parent
CASES = HERE.parent / "data/golden"

KINDS = sorted(path.name for path in CASES.iterdir() if path.is_dir())

# Recorded results that are wanted otherwise (docs/why.md).
DEVIATIONS = {
    # C crashes where a control file cannot be read; we answer 421 and exit 1.  AUTH= of MAIL counts for nothing before
    # a login (RFC 4954 section 5), and an address beyond ASCII needs SMTPUTF8.
    "smtpd": {"smtpd/norcpthosts", "smtpd/mail-auth", "smtpd/mail-auth2", "smtpd/rcptaddr11"},
    # Options of other sendmails are accepted: -q does nothing, -r is -f.
    "inject": {"inject/sendmail05", "inject/sendmail07"},
    # C takes every reply below 400 for yes, writes AUTH=<sender> where RFC 4954 has xtext without brackets, and does
    # not report which server it could not reach, or the reply of a busy one.
    "remote": {
        "remote/auth",
        "remote/auth-equals",
        "remote/data2",
        "remote/final-odd",
        "remote/greet-next",
        "remote/greet4",
        "remote/refused",
    },
}


# Settings for the behavior of C, by kind: the server has its own limits and log lines.
AS_C = {"smtpd": ["smtplimits=c", "smtplogformat=c"]}


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_recorded_cases_of(kind: str, real_home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    scratch = tmp_path_factory.mktemp(kind)
    for folder in (scratch, *scratch.parents):
        if folder.owner() == "root" and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    command = [sys.executable, "-B", HERE / "check_golden.py", "--bin", real_home / "bin", "--kind", kind]
    command += [word for setting in AS_C.get(kind, []) for word in ("--control", setting)]
    run = subprocess.run(
        [*map(str, command), "--home", str(scratch), "--cases", str(CASES)], capture_output=True, text=True, check=False
    )
    failed = {line.split()[1] for line in run.stdout.splitlines() if line.startswith("FAIL ")}
    assert failed == DEVIATIONS.get(kind, set()), run.stdout[-6000:] + run.stderr[-2000:]
    *_, totals, _ = run.stdout.splitlines()
    passed, unmet = int(totals.split()[1]), int(totals.split()[5]) if "skipped" in totals else 0
    count = len(list((CASES / kind).glob("*.json")))
    assert passed + unmet + len(failed) == count, totals
    if unmet:
        lack(f"what {unmet} of {count} cases ask for (an account with its home, or a program); {passed} passed")
