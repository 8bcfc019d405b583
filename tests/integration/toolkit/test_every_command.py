"""What holds for every changing command: a rehearsal changes nothing, a second run has nothing to do.

plan(apply(plan(x))) is empty: after a run, the plan of the same command holds no action.
"""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from eqmail_setup.cli.app import cli, run
from eqmail_setup.errors import ExitCode
from eqmail_setup.mail import certificates as keys
from tests.integration.toolkit.conftest import picture
from tests.integration.toolkit.test_import import old_home

# In order of use: later commands need the results of earlier ones. {root} is a folder of the test.
COMMANDS: dict[str, list[str]] = {
    "setup": ["--single-user"],
    "config-fast": ["mail.example.org"],
    "mkusers": [],
    "alias init": ["joe@elsewhere.example"],
    "alias add": ["sales", "joe@elsewhere.example"],
    "alias remove": ["sales"],
    "domain add": ["virtual.example", "--virtual", "joe"],
    "domain remove": ["virtual.example"],
    "config set": ["databytes", "1000"],
    "config add": ["percenthack", "pct.example"],
    "config remove": ["percenthack", "pct.example"],
    "config unset": ["databytes"],
    "queue suspend": ["busy.example"],
    "queue resume": ["busy.example"],
    "config import": ["{root}/settings.json"],
    "user add": ["foo"],
    "user import-passwd": ["{root}/passwd"],
    "user compile": [],
    "user remove": ["foo"],
    "mailbox add": ["ann@example.net", "--quota", "5G"],
    "mailbox forward": ["ann@example.net", "ann@elsewhere.example", "--keep"],
    "mailbox quota": ["ann@example.net", "0"],
    "service install": ["--manager", "xinetd", "--no-start", "--set", "folder={root}/xinetd.d"],
    "apply": ["{root}/site.toml"],
    "import": ["{root}/old"],
    "export": ["--to", "netqmail", "{root}/back"],
    "cert install": ["{root}/pair.pem", "{root}/pair.pem"],
    "check": ["--fix"],
    "gen-xinetd": ["--output", "{root}/files"],
    "gen-init": ["--output", "{root}/files"],
    "gen-daemontools": ["--output", "{root}/files"],
    "gen-systemd": ["--output", "{root}/files"],
    "gen-runit": ["--output", "{root}/files"],
    "gen-s6": ["--output", "{root}/files"],
    "srs on": [],
    "srs off": [],
    "batv on": [],
    "batv off": [],
}
OTHERS = {
    "uninstall": "tests/integration/toolkit/test_removal.py",
    "restore": "tests/integration/toolkit/test_archive.py",
    "rollback": "tests/integration/toolkit/test_history.py",
    "config edit": "asks an editor",
    "user passwd": "a former name of auth set",
    "auth set": "asks for a secret",
    "auth remove": "a login that is not there is an error",
    "mailbox passwd": "asks for a secret",
    "mailbox remove": "a mailbox that is not there is an error",
    "service remove": "services that are not there are an error",
    "cert acme": "asks an authority",
    "cert make": "refuses where there is a certificate",
    "cert renew": "makes a new certificate each time",
    "cert request": "as cert make",
    "dkim generate": "makes new keys each time",
    "srs rotate": "makes a new secret each time",
    "batv rotate": "makes a new secret each time",
    "dkim rotate": "tests/integration/toolkit/test_dkim.py",
    "gen-dovecot": "needs Dovecot: tests/interop/test_dovecot_mailboxes.py",
    "quickstart": "a test of its own",
}
"""Changing commands that are no rows of the table, and why."""

REMOVING = (
    *("alias remove", "domain remove", "config remove", "user remove", "mailbox remove", "auth remove"),
    "queue resume",
)
"""What is not found the second time."""

ENDS = {"check": (0, ExitCode.PROBLEMS)} | dict.fromkeys(REMOVING, (0, ExitCode.FAILED))
"""Exit codes besides 0: check reports what it could not repair."""

STAGED = ("check", "export", "import", "mkusers", "config-fast", "alias", "domain", "config", "user", "gen-", "setup")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path
    old_home(folder / "old", 5)
    (folder / "settings.json").write_text('{"concurrencyremote": "7\\n"}')
    (folder / "site.toml").write_text('schema = "eqmail/site-1"\n[settings]\ndatabytes = "20M"\n')
    pair = keys.self_signed(keys.new_key(keys.ECDSA), ["mail.example.org"], datetime.now(UTC), 90)
    (folder / "pair.pem").write_bytes(pair)
    uid = os.getuid() or 12
    (folder / "homes").mkdir()
    os.chown(folder / "homes", uid, -1)
    lines = [f"{name}:x:{uid}:{uid}::{folder}/homes:/bin/sh\n" for name in ("alias", "me")]
    (folder / "passwd").write_text("".join(lines))
    (folder / "conf-split").write_text("2\n")
    before = os.getcwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


def words(name: str, root: Path, *more: str) -> list[str]:
    rest = [word.format(root=root) for word in COMMANDS[name]]
    return ["--home", str(root / "home"), *name.split(" "), *rest, *more]


def actions(name: str, root: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The sentences of the plan in the --json output."""
    capsys.readouterr()
    code = run(words(name, root, "--dry-run", "--json"))
    if name in REMOVING and code == ExitCode.FAILED:
        return []  # what is to be removed is not there
    assert code == 0
    found = json.loads(capsys.readouterr().out)["changes"]
    return [f"{item['operation']} {item['path']}" for item in found if item["operation"] != "compile"]


def test_a_dry_run_changes_nothing_and_a_second_run_has_nothing_to_do(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All commands on one installation, in the order of the table."""
    for name in COMMANDS:
        before = picture(str(root))
        assert run(words(name, root, "--dry-run")) == 0, name
        assert run(words(name, root, "--diff")) == 0, name
        planned = actions(name, root, capsys)
        assert picture(str(root)) == before, f"{name}: a rehearsal changes nothing"
        ends = (0,) if name in REMOVING else ENDS.get(name, (0,))
        assert run(words(name, root, "--yes")) in ends, f"{name}: {capsys.readouterr().err}"
        assert planned or picture(str(root)) == before, f"{name}: what is done is foretold"
        assert actions(name, root, capsys) == [], name
        after = picture(str(root))
        assert run(words(name, root)) in ENDS.get(name, (0,)), name
        assert picture(str(root)) == after, f"{name}: a second run has nothing to do"


def every_command() -> Iterator[tuple[str, click.Command]]:
    top = click.Context(cli, info_name="eqmail")
    for name in cli.list_commands(top):
        command = cli.get_command(top, name)
        if isinstance(command, click.Group):
            context = click.Context(command, parent=top, info_name=name)
            for inner in command.list_commands(context):
                found = command.get_command(context, inner)
                if found:
                    yield f"{name} {inner}", found
        elif command:
            yield name, command


def options(command: click.Command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


def test_every_changing_command_is_in_the_table_and_has_the_options_of_all() -> None:
    changing = {
        name: options(command)
        for name, command in every_command()
        if "--dry-run" in options(command) and "--diff" in options(command)
    }
    assert set(changing) - set(OTHERS) == set(COMMANDS)
    for name, known in changing.items():
        wanted = {"--dry-run", "--diff", "--json", "--yes", "--verbose"} | (
            {"--root"} if name.startswith(STAGED) else set()
        )
        assert wanted <= known, name


def test_staged_files_do_not_contain_the_staging_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = str(tmp_path / "stage")
    assert run(["--home", "/var/mail-home", "setup", "--root", stage]) == 0
    for line in (
        "config-fast mail.example.org",
        "alias add sales joe@elsewhere.example",
        "user add foo --ids 65534:65533",
        "domain add a.example",
        "config set databytes 5",
    ):
        for output in ("", "No changes needed."):
            capsys.readouterr()
            assert run(["--home", "/var/mail-home", *line.split(" "), "--root", stage]) == 0
            assert output in capsys.readouterr().out
    for folder, _, files in os.walk(stage):
        for name in files:
            path = Path(folder, name)
            assert not path.is_file() or stage.encode() not in path.read_bytes(), name
    manifest = Path(stage, "eqmail.manifest").read_text()
    assert "0700 nobody 65533 /var/mail-home/users/foo\n" in manifest
    assert run(["--home", "/var/mail-home", "alias", "remove", "sales", "--root", stage]) == 0
    assert ".qmail-sales" not in Path(stage, "eqmail.manifest").read_text()
