"""Scripts of C qmail that our programs are to run in: limits of memory, and a host name where a program belongs."""

from pathlib import Path

import pytest

from eqmail_core.site.site import Site
from eqmail_setup.diagnostics.checks.start_scripts import ENOUGH_BYTES, check_start_scripts
from eqmail_setup.services.options import MEMORY_BYTES

LIFE_WITH_QMAIL = """#!/bin/sh
QMAILDUID=`id -u qmaild`
exec /usr/local/bin/softlimit -m 2000000 \\
    /usr/local/bin/tcpserver -v -R -l "$LOCAL" -x /etc/tcp.smtp.cdb -c "$MAXSMTPD" \\
        -u "$QMAILDUID" -g "$NOFILESGID" 0 smtp HOME/bin/qmail-smtpd 2>&1
"""


def found(tmp_path: Path, text: str) -> list[str]:
    home = tmp_path / "ho[m]e"
    script = home / "supervise/qmail-smtpd/run"
    script.parent.mkdir(parents=True)
    script.write_text(text.replace("HOME", str(home)))
    return [
        f"{it.severity.value} {it.id} {it.message.partition(': ')[2]}"
        for it in check_start_scripts(Site(home=str(home)), ("{home}/supervise/*/run",))
    ]


def test_the_memory_limit_of_life_with_qmail_is_reported(tmp_path: Path) -> None:
    (only,) = found(tmp_path, LIFE_WITH_QMAIL)
    assert only == "error scripts.memory allows 2000000 bytes of memory, too few"


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("softlimit -m 30000000 tcpserver 0 25 HOME/bin/qmail-smtpd", "warning scripts.memory allows 30000000"),
        ("softlimit -o 50 -a20000000 HOME/bin/qmail-smtpd", "error scripts.memory allows 20000000"),
        ("chpst -u qmaild -m 8000000 qmail-smtpd", "error scripts.memory allows 8000000"),
        ("ulimit -S -v 20000\nexec $QMAIL/bin/qmail-smtpd", "error scripts.memory allows 20480000"),
        ("server_args = HOME/bin/tcp-env\nrlimit_as = 8M", "error scripts.memory allows 8388608"),
        ("qmail-smtpd mail.example.org /bin/checkpw true", "warning scripts.checker mail.example.org, the first word"),
        ("qmail-smtpd \\\n  a.example \\\n  checkpw true", "warning scripts.checker a.example, the first word"),
    ],
)
def test_each_mismatch_has_its_own_finding(tmp_path: Path, line: str, finding: str) -> None:
    (only,) = found(tmp_path, f"#!/bin/sh\n{line}\n")
    assert only.startswith(finding)


@pytest.mark.parametrize(
    "line",
    [
        f"softlimit -m {ENOUGH_BYTES} qmail-smtpd",
        f"softlimit -m {MEMORY_BYTES} qmail-smtpd /bin/checkpw true",
        "softlimit -m 2000000 /elsewhere/bin/qmail-smtpd",
        "softlimit -m 2000000 axfrdns",
        "# softlimit -m 2000000 qmail-smtpd\nexec qmail-smtpd",
        'softlimit -m "$MEMORY" qmail-smtpd check.pl',
        "softlimit -o 200 qmail-start ./Maildir/",
    ],
)
def test_matching_and_foreign_scripts_are_not_reported(tmp_path: Path, line: str) -> None:
    assert not found(tmp_path, f"#!/bin/sh\n{line}\n")


def test_other_files_are_ignored(tmp_path: Path) -> None:
    assert not found(tmp_path, "\0softlimit -m 1 qmail-smtpd")
    assert not list(check_start_scripts(Site(home=str(tmp_path)), ("{home}", "{home}/nothing")))
