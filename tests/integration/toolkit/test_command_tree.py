"""What holds for every command of the tree: exit codes, errors with a hint, one JSON envelope."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from eqmail_setup.cli.app import run
from eqmail_setup.errors import ExitCode
from tests.integration.toolkit.test_import import old_home
from tests.support.command_tree import ARGUMENTS, every_command, furnish, options, words_of
from tests.support.error_text import is_one_error
from tests.support.name_server import Zone
from tests.unit.queue.test_admin_transfer import put

NAMES = [name for name, _ in every_command() if name in ARGUMENTS]
WITH_JSON = [name for name, command in every_command() if name in ARGUMENTS and "--json" in options(command)]
CHANGING = {name for name, command in every_command() if "--dry-run" in options(command)}

WITHOUT_INSTALLATION = {
    "quickstart": "makes it",
    "setup": "makes it",
    "mkusers": "comes before it",
    "demo": "makes its own",
    "config schema": "has no values",
    "dmarc policy": "asks the DNS only",
    "cluster demo": "makes its own",
    "dmarc reports show": "reads the named files",
    "import": "makes it",
    "completion": "is about the command",
    "help": "is about the command",
}
"""Commands that need no installation, and why."""

OTHER_JSON = {
    "cluster status": "tests/integration/toolkit/test_cluster.py",
    "config edit": "asks an editor",
    "dmarc reports show": "tests/unit/toolkit/test_received_reports.py",
    "probe mx": "connects to port 25 of another host",
    "queue move": "tests/system/test_queue_tools.py",
    "quickstart": "tests/system/service_managers/test_quickstart.py",
    "test send": "tests/integration/toolkit/test_status.py",
    "tls check": "asks the DNS and a server",
    "user import-passwd": "tests/integration/toolkit/test_every_command.py",
}
"""Commands whose JSON other tests look at, and why."""

SCHEMA = re.compile(r"eqmail/[a-z-]+-[0-9]+")


@pytest.fixture
def files(at_home: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """An installation with everything that the commands name; the folder of files."""
    folder = tmp_path / "files"
    furnish(at_home, folder)
    old_home(folder / "old", 1)
    return folder


def test_every_command_is_in_the_table() -> None:
    assert {name for name, _ in every_command()} == set(ARGUMENTS), "each command needs words to be tried with"


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_option_is_wrong_usage(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*name.split(" "), "--no-such-option"]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert is_one_error(said) and "\nhint: eqmail " in said


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITHOUT_INSTALLATION])
def test_without_an_installation_the_way_to_one_is_named(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("pair.pem", "site.toml", "saved.tar.gz", "passwd"):
        (tmp_path / file).touch()
    (tmp_path / "settings.json").write_text("{}")
    home = str(tmp_path / "nothing")
    assert run(words_of(name, home, tmp_path)) == ExitCode.FAILED
    assert (
        capsys.readouterr().err == f"eqmail: error: {home}: no eQmail installation\nhint: eqmail --home {home} setup\n"
    )


MISSING = {
    "alias remove": ["nothing"],
    "alias show": ["nothing"],
    "apply": ["/nonexistent"],
    "auth remove": ["nothing"],
    "cert install": ["/nonexistent", "/nonexistent"],
    "config import": ["/nonexistent"],
    "config remove": ["badmailfrom", "@nothing.example"],
    "config search": ["no-such-word"],
    "config get": ["databytes"],
    "dkim record": ["nothing.example"],
    "dkim rotate": ["nothing.example"],
    "domain remove": ["nothing.example"],
    "history": ["999"],
    "import": ["/nonexistent"],
    "log trace": ["999", "--file", "/nonexistent"],
    "log summary": ["--file", "/nonexistent"],
    "mailbox forward": ["nothing@nothing.example", "--off"],
    "mailbox quota": ["nothing@nothing.example", "0"],
    "mailbox remove": ["nothing@nothing.example"],
    "queue delete": ["999"],
    "queue resume": ["nothing.example"],
    "queue retry": ["999"],
    "queue show": ["999"],
    "restore": ["/nonexistent"],
    "rollback": ["999"],
    "service remove": ["xinetd", "--yes"],
    "service restart": ["xinetd"],
    "service show": ["xinetd"],
    "user import-passwd": ["/nonexistent"],
    "user remove": ["nothing"],
    "user show": ["nothing"],
}
"""What is not there, by the command that looks for it."""


@pytest.mark.parametrize("name", MISSING)
def test_what_is_not_there_is_not_found(at_home: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["--home", at_home, *name.split(" "), *MISSING[name]]) == ExitCode.FAILED
    said = capsys.readouterr()
    shown = said.err + said.out
    assert any(word in shown for word in MISSING[name])
    assert "Traceback" not in shown


UNKNOWN = {
    "config add": ["no-such", "a"],
    "config explain": ["no-such"],
    "config get": ["no-such"],
    "config set": ["no-such", "1"],
    "config show": ["no-such", "--json"],
    "config unset": ["no-such"],
    "doctor": ["--only", "no-such"],
    "gen-systemd": ["--service", "no-such"],
    "gen-init": ["--type", "no-such"],
    "help": ["no-such"],
    "completion": ["no-such"],
    "queue list": ["--where", "no-such=1"],
    "queue stats": ["--where", "no-such=1"],
    "service install": ["--manager", "no-such"],
    "auth set": ["ann", "--scheme", "no-such"],
}
"""Names that no version knows, by the command that is given them."""


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_name_is_wrong_usage(at_home: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["--home", at_home, *name.split(" "), *UNKNOWN[name]]) == ExitCode.USAGE
    said = capsys.readouterr()
    assert is_one_error(said.err) and "no-such" in said.err and not said.out


OPEN_TO_ALL = {
    "alias list": "aliases are public",
    "alias show": "aliases are public",
    "completion": "is about the command",
    "config diff": "settings are public",
    "config explain": "settings are public",
    "config get": "settings are public",
    "config lint": "settings are public",
    "config schema": "has no values",
    "config search": "settings are public",
    "config show": "settings are public",
    "domain list": "domains are public",
    "dns records": "is public",
    "explain": "says what it could not see",
    "gen-daemontools": "prints",
    "gen-dovecot": "prints",
    "gen-init": "prints",
    "gen-runit": "prints",
    "gen-s6": "prints",
    "gen-systemd": "prints",
    "gen-xinetd": "prints",
    "help": "is about the command",
    "log summary": "reads the named file",
    "service show": "service files are public",
    "user list": "users/assign is public",
    "user show": "users/assign is public",
}
"""Commands that every account may run, and why."""

ELSEWHERE = {
    "cert acme": "asks an authority",
    "cert hook": "writes nothing without --install",
    "cert timer": "writes nothing without --install",
    "cluster demo": "makes its own installations",
    "cluster drain": "needs a database",
    "cluster forget": "needs a database",
    "cluster init": "needs a database",
    "cluster status": "needs a database",
    "demo": "works in a folder of the caller",
    "dkim check": "asks the DNS",
    "dkim record": "records are public",
    "dmarc policy": "asks the DNS",
    "dmarc reports list": "has nothing to show here",
    "dmarc reports send": "has nothing to send here",
    "dmarc reports show": "reads the named files",
    "dns check": "asks the DNS",
    "log trace": "reads the named file",
    "mkusers": "names what is missing",
    "probe mx": "connects to other hosts",
    "probe smtp": "connects to a server",
    "queue move": "needs another installation",
    "quickstart": "makes another kind of installation",
    "reload": "needs running services",
    "run": "is for single-user homes too",
    "service list": "needs running services",
    "service logs": "needs a log",
    "service reload": "needs running services",
    "service restart": "is for the service manager to decide",
    "service start": "is for the service manager to decide",
    "service status": "needs running services",
    "service stop": "is for the service manager to decide",
    "status": "needs running services",
    "test send": "needs running services",
    "tls check": "asks the DNS and a server",
    "import": "tests/integration/toolkit/test_import.py",
    "export": "tests/integration/toolkit/test_import.py",
}
"""Commands that are not tried as another account here, and why."""


@pytest.mark.root
def test_what_needs_root_says_so(at_home: str, files: Path, tmp_path: Path) -> None:
    """As an account that may read what is public only."""
    put_one_message(at_home)
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/") and folder.stat().st_mode & 0o055 != 0o055:
            folder.chmod(folder.stat().st_mode | 0o055)
    refused = [name for name in NAMES if name not in OPEN_TO_ALL and name not in ELSEWHERE]
    codes = {name: as_nobody(name, at_home, files) for name in (*refused, *OPEN_TO_ALL)}
    wrong = {
        name: (code, said)
        for name, (code, said) in codes.items()
        if "Traceback" in said or "internal" in said or (code == ExitCode.PERMISSION) == (name in OPEN_TO_ALL)
    }
    assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())


def as_nobody(name: str, home: str, files: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "eqmail_setup", *words_of(name, home, files), *_consent(name)]
    environ = {"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": os.environ["PATH"]}
    ended = subprocess.run(
        *(command,),
        user=65534,
        group=65534,
        extra_groups=[],
        cwd="/",
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return ended.returncode, ended.stderr


def _consent(name: str) -> list[str]:
    return ["--yes"] if name in CHANGING and not name.startswith("gen-") and name != "queue move" else []


def put_one_message(home: str) -> int:
    """Put a message into the queue; its number."""
    from eqmail_setup.installation.build_config import load_site

    site = load_site(home)
    assert site is not None
    body, info = b"Subject: a test\n\nA test.\n", b"Fann@example.net\0"
    return put(site, body, 1_700_000_000, info=info, remote=b"Tjoe@far.example\0")


def test_json_is_one_envelope_with_the_name_of_its_schema(
    at_home: str,
    files: Path,
    zone: Zone,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All commands on one installation, changing ones as a dry run."""
    message, wrong = put_one_message(at_home), {}
    for name in WITH_JSON:
        if name in OTHER_JSON:
            continue
        more = ["--dry-run"] if name in CHANGING and not name.startswith("gen-") else []
        capsys.readouterr()
        with open("/dev/null") as nothing:
            monkeypatch.setattr(sys, "stdin", nothing)
            code = run([*words_of(name, at_home, files, message), *more, "--json"])
        said = capsys.readouterr()
        try:
            value = json.loads(said.out)
            is_right = bool(SCHEMA.fullmatch(value["schema"])) and code in (0, ExitCode.PROBLEMS, ExitCode.FAILED)
        except (ValueError, TypeError, KeyError):
            is_right = False
        if not is_right:
            wrong[name] = (code, said.out[:200], said.err)
    assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())
