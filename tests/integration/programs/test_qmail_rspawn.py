"""qmail-rspawn behind the pipes of a classic qmail-send."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os, sys
from eqmail_core.programs.qmail_rspawn import main
sys.exit(main([b"qmail-rspawn"], dict(os.environb)))
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for folder in ("bin", "queue/lock", "queue/mess/1"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "site").write_text("single-user yes\n")
    (tmp_path / "queue/lock/tcpto").write_bytes(b"\2\5" * 1024)
    (tmp_path / "queue/mess/1/24").write_bytes(b"the message\n")
    return tmp_path


def program(home: Path, name: str, text: str) -> None:
    (home / "bin" / name).write_text("#!/bin/sh\n" + text)
    (home / "bin" / name).chmod(0o755)


def spawn(home: Path, *commands: bytes, **environ: str) -> bytes:
    result = subprocess.run(
        [sys.executable, "-c", CODE],
        input=b"".join(commands),
        capture_output=True,
        timeout=60,
        env=os.environ | {"EQMAIL_HOME": str(home)} | environ,
        check=True,
    )
    assert result.stderr == b""
    return result.stdout


ORDER = b"\x05" + b"1/24\0s@x\0r@y@host.test\0"


def test_a_program_is_run_for_each_order_and_its_output_judged(home: Path) -> None:
    program(home, "qmail-remote", r'printf "r\0K%s %s %s: " "$1" "$2" "$3"; cat; printf "\0"')
    assert spawn(home, ORDER) == b"\x78" + b"\x05Khost.test s@x r@y@host.test: the message\n\0"
    assert (home / "queue/lock/tcpto").read_bytes() == bytes(2048)


def test_qmail_bfrmt_goes_before_qmail_remote(home: Path) -> None:
    program(home, "qmail-remote", "exit 9")
    program(home, "qmail-bfrmt", "exit 111")
    assert spawn(home, ORDER)[1:] == b"\x05ZUnable to run qmail-bfrmt.\n\0"


def test_a_program_named_by_the_environment_goes_before_both(home: Path) -> None:
    program(home, "qmail-bfrmt", "exit 9")
    program(home, "mine", r'printf "h1 no\0DGiving up\0"')
    assert spawn(home, ORDER, QMAILREMOTE=str(home / "bin/mine"))[1:] == b"\x05D1 noGiving up\0"


def test_no_program_at_all_is_permanent(home: Path) -> None:
    assert spawn(home, ORDER, PATH="/nowhere")[1:] == b"\x05DUnable to run qmail-remote.\n\0"


def test_malformed_requests_are_refused_without_a_program(home: Path) -> None:
    assert (
        spawn(home, b"\x01" + b"1/24\0s\0nobody\0")[1:] == b"\x01DSorry, address must include host name. (#5.1.3)\n\0"
    )
    assert spawn(home, b"\x01" + b"1/25\0s\0r@x\0")[1:] == b"\x01Zqmail-spawn unable to open message. (#4.3.0)\n\0"
