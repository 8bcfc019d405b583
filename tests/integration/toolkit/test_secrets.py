"""Passwords in settings are shown nowhere: history, diff, export, show, errors; their files are not for every user."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from eqmail_core.control.controls import Controls
from eqmail_setup.cli.app import run
from eqmail_setup.errors import ExitCode
from eqmail_setup.settings.secrets import redact_file, secret_files

SECRET = "sesame-open"
ROUTE = f"far.example:relay.example joe {SECRET}"


def test_secrets_are_known_by_their_declarations() -> None:
    assert {Controls.smtproutes.file, Controls.servercert.file, Controls.clientcert.file} <= secret_files()


def test_a_redacted_file_keeps_comments_and_keys() -> None:
    text = f"# ours\n{ROUTE}\nnear.example:relay\n".encode()
    assert redact_file("control/smtproutes", text) == b"# ours\nfar.example:relay.example ...\nnear.example:relay\n"
    assert redact_file("control/me", b"a b\n") == b"a b\n"


def test_a_password_is_shown_nowhere(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Path(at_home).parent / "settings.json"
    settings.write_text(json.dumps({"smtproutes": f"{ROUTE}\nother.example:r joe {SECRET}2\n"}))
    for words in (
        ["config", "set", "smtproutes", ROUTE, "--diff"],
        ["config", "set", "smtproutes", ROUTE, "--dry-run", "--json"],
        ["config", "set", "smtproutes", ROUTE],
        ["config", "show", "smtproutes"],
        ["config", "show", "--json"],
        ["config", "export"],
        ["config", "import", str(settings), "--diff"],
        ["config", "unset", "smtproutes", "--diff"],
        ["history", "3", "--diff"],
        ["history", "--json"],
        ["rollback", "--diff"],
        ["rollback"],
    ):
        assert run(["--home", at_home, *words]) == 0, words
    shown = capsys.readouterr()
    assert SECRET not in shown.out + shown.err
    for path in Path(at_home, "history").glob("*.json"):
        assert SECRET not in path.read_text()


def test_a_file_with_passwords_is_for_its_readers_only(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(at_home, "control/smtproutes")
    assert run(["--home", at_home, "config", "set", "smtproutes", "far.example:relay.example"]) == 0
    assert path.stat().st_mode & 0o777 == 0o644, "no password, so nothing to hide"
    assert run(["--home", at_home, "config", "set", "smtproutes", ROUTE]) == 0
    assert path.stat().st_mode & 0o777 == 0o640
    os.chmod(path, 0o644)
    capsys.readouterr()
    assert run(["--home", at_home, "check"]) == ExitCode.PROBLEMS
    assert f"{path}: every user can read the passwords in it" in capsys.readouterr().out
    run(["--home", at_home, "check", "--fix"])
    assert path.stat().st_mode & 0o777 == 0o640


def test_lists_of_secrets_are_shown_nowhere(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    for scheme in ("srs", "batv"):
        assert run(["--home", at_home, scheme, "on"]) == 0
        assert run(["--home", at_home, scheme, "rotate", "--diff"]) == 0
        assert run(["--home", at_home, scheme, "rotate"]) == 0
    files = [Path(at_home, "control", control.file) for control in (Controls.srssecrets, Controls.batvsecrets)]
    secrets = [line for path in files for line in path.read_text().split()]
    assert len(secrets) == 4
    for words in (
        ["config", "show"],
        ["config", "show", "--json"],
        ["config", "show", "srssecrets"],
        ["config", "diff"],
        ["config", "diff", "--json"],
        ["config", "search", "secrets"],
        ["config", "explain", "batvsecrets"],
        ["config", "export"],
        ["dump"],
        ["history", "--json"],
        ["history", "4", "--diff"],
        ["srs", "off", "--diff"],
    ):
        assert run(["--home", at_home, *words]) == 0, words
    shown = capsys.readouterr()
    text = shown.out + shown.err
    for program in ("qmail-showctl", "qmail-shcfg"):
        done = subprocess.run([f"{at_home}/bin/{program}"], capture_output=True, text=True, check=False)
        text += done.stdout + done.stderr
    assert "srssecrets" in text and not [secret for secret in secrets if secret in text]
