"""The command line: one line per failure, the right exit code, and nothing imported before it is needed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from eqmail_setup.cli.app import cli, run
from eqmail_setup.cli.command_table import COMMANDS
from eqmail_setup.errors import ExitCode
from tests.support.error_text import is_one_error

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No conf-* files lie in the current folder, and no home in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EQMAIL_HOME", raising=False)


@pytest.fixture
def home(tmp_path: Path) -> str:
    made = str(tmp_path / "home")
    assert run(["--home", made, "setup", "--single-user"]) == 0
    assert run(["--home", made, "config-fast", "mail.example.org"]) == 0
    return made


@pytest.mark.usefixtures("own_sources")
def test_a_new_installation_is_as_it_should_be_and_a_second_setup_has_nothing_to_do(
    home: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--home", home, "check"]) == 0
    capsys.readouterr()
    assert run(["--home", home, "setup"]) == 0
    assert capsys.readouterr().out == "No changes needed.\n"


def test_check_exits_1_and_shows_actual_and_expected_values(home: str, capsys: pytest.CaptureFixture[str]) -> None:
    os.chmod(f"{home}/queue/mess", 0o700)
    Path(home, "control/concurrencyremote").write_text("twenty\n")
    capsys.readouterr()
    assert run(["--home", home, "check"]) == ExitCode.PROBLEMS
    lines = capsys.readouterr().out.splitlines()
    assert f"{home}/queue/mess: mode 0700, expected 0750" in lines
    assert any(line.startswith(f"{home}/control/concurrencyremote: is not a number") for line in lines)
    assert run(["--home", home, "check", "--json"]) == ExitCode.PROBLEMS
    value = json.loads(capsys.readouterr().out)
    assert value["schema"] == "eqmail/findings-1"
    assert {
        "id": "check.difference",
        "severity": "error",
        "path": f"{home}/queue/mess",
        "message": "mode 0700",
        "expected": "0750",
        "hint": ["eqmail", "--home", home, "check", "--fix"],
        "fixable": True,
    } in value["findings"]


def test_a_dry_run_shows_everything_and_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    assert run(["--home", str(home), "setup", "--single-user", "--dry-run"]) == 0
    assert f"Would create 23 directories in {home}/queue/mess" in capsys.readouterr().out
    assert not home.exists()


def test_a_diff_shows_how_a_file_would_change(home: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("conf-spawn").write_text("50\n")
    capsys.readouterr()
    assert run(["--home", home, "setup", "--diff"]) == 0
    assert "-spawn 120\n+spawn 50\n" in capsys.readouterr().out


def test_staging_works_without_root_and_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--home", "/var/qmail", "setup", "--root", str(tmp_path / "stage")]
    assert run(words) == 0
    assert run(words) == 0
    assert capsys.readouterr().out.endswith("No changes needed.\n")


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["bogus"], ExitCode.USAGE, "No such command"),
        (["setup", "--bogus"], ExitCode.USAGE, "No such option"),
        (["setup", "--layout", "exim"], ExitCode.USAGE, "write one of eqmail-1.09, eqmail-1.11, netqmail"),
        (["setup", "--conf", "/nonexistent"], ExitCode.USAGE, "holds no conf-qmail"),
        (["--home", "/dev/null", "setup"], ExitCode.USAGE, "is a file; choose another home"),
        (["--home", "/dev/null/x", "setup", "--single-user"], ExitCode.USAGE, "is not a directory"),
        (
            ["--home", "/tmp/" + "x" * 100, "setup", "--single-user"],
            ExitCode.USAGE,
            "are too long for the sockets in it",
        ),
        (
            ["--home", "/nonexistent", "check"],
            ExitCode.FAILED,
            "no eQmail installation\nhint: eqmail --home /nonexistent setup",
        ),
        (["--home", "/nonexistent", "run"], ExitCode.FAILED, "no eQmail installation"),
        (["--home", "/nonexistent", "config", "show"], ExitCode.FAILED, "no eQmail installation"),
        (["--home", "/proc/x", "setup", "--single-user"], ExitCode.FAILED, "/proc/x"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(
    words: list[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == code
    output = capsys.readouterr().err
    assert sentence in output
    assert is_one_error(output)
    assert output.startswith("eqmail: ")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["config-fast", "box"], "give the full name"),
        (["config", "set", "databytes", "10x"], "'10x' is not a size"),
        (["config", "set", "databytes"], "give values for databytes"),
        (["config", "set", "lcals", "x"], "unknown setting 'lcals'"),
        (["run", "--smtp", "25"], "write ADDRESS:PORT"),
        (["run", "--smtp", "127.0.0.1:99999"], "write ADDRESS:PORT"),
        (["alias", "init", "joe@"], "is not an address"),
    ],
)
def test_an_unknown_argument_is_a_usage_error(
    home: str, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["--home", home, *words]) == ExitCode.USAGE
    output = capsys.readouterr().err
    assert sentence in output
    assert is_one_error(output)


def test_settings_are_set_shown_and_unset(home: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["--home", home, "config", "set", "rcpthosts", "a.example", "b.example"]) == 0
    capsysbinary.readouterr()
    assert run(["--home", home, "config", "get", "rcpthosts"]) == 0
    assert capsysbinary.readouterr().out == b"a.example\nb.example\n"
    assert run(["--home", home, "config", "show", "rcpthosts"]) == 0
    assert b"value: a.example b.example" in capsysbinary.readouterr().out
    assert run(["--home", home, "config", "set", "rcpthosts", "--unset", "--yes"]) == 0
    assert run(["--home", home, "config", "get", "rcpthosts"]) == ExitCode.FAILED


def test_a_changed_split_is_refused_while_mail_is_queued(home: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(home, "queue/mess/5/28").touch()
    Path("conf-split").write_text("7\n")
    capsys.readouterr()
    assert run(["--home", home, "setup"]) == ExitCode.FAILED
    assert "let it run empty and stop the services first" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do all that is tested here")
def test_commands_that_need_root_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", str(tmp_path / "h"), "setup"]) == ExitCode.PERMISSION
    assert "without root: --single-user" in capsys.readouterr().err


@pytest.mark.root
def test_commands_that_need_root_say_so_to_other_users(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "eqmail_setup", "--home", "/nonexistent/home", "setup"]
    ended = subprocess.run(command, user="nobody", capture_output=True, text=True, cwd=CHECKOUT)
    assert ended.returncode == ExitCode.PERMISSION
    assert "needs root" in ended.stderr


@pytest.mark.root
def test_missing_accounts_are_named_with_the_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("conf-groups").write_text("nosuchgroup1\nnosuchgroup2\n")
    assert run(["--home", str(tmp_path / "h"), "setup"]) == ExitCode.FAILED
    assert "nosuchgroup1, nosuchgroup2\nhint: " in capsys.readouterr().err
    assert not (tmp_path / "h/bin").exists()


def test_an_internal_error_is_one_line_without_debug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def raise_error(name: str) -> object:
        raise TypeError(f"{name} is no module")

    monkeypatch.setattr("eqmail_setup.cli.app.import_module", raise_error)
    assert run(["check"]) == ExitCode.INTERNAL
    output = capsys.readouterr().err
    assert output.startswith(
        "eqmail: error: internal: TypeError: eqmail_setup.cli.commands.check is no module (test_cli.py:"
    )
    assert "please report it with the traceback that EQMAIL_DEBUG=1 shows" in output
    assert is_one_error(output)
    monkeypatch.setenv("EQMAIL_DEBUG", "1")
    assert run(["check"]) == ExitCode.INTERNAL
    assert "Traceback" in capsys.readouterr().err


def test_help_imports_nothing_that_only_a_command_needs() -> None:
    code = (
        "import sys; from eqmail_setup.cli.app import run; run(['--help']); "
        "print([m for m in ('pydantic', 'jinja2', 'rich', 'publicsuffixlist', 'uvloop') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT)
    assert ended.stdout.endswith("[]\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert "Usage: eqmail" in capsys.readouterr().out


def _all_commands(command: click.Command, name: str) -> list[tuple[str, click.Command]]:
    found = [(name, command)]
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for inner in command.list_commands(context):
            below = command.get_command(context, inner)
            assert below is not None
            found += _all_commands(below, f"{name} {inner}")
    return found


def test_every_command_gives_examples() -> None:
    commands = dict(_all_commands(cli, "eqmail"))
    without = {name for name, command in commands.items() if "Examples:" not in (command.help or "")}
    assert {name for name in without if not name.startswith("eqmail queue")} == {"eqmail"}


@pytest.mark.parametrize("words", [[], ["config"], ["alias"]])
def test_a_command_without_its_verb_shows_its_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    run(words)
    output = capsys.readouterr()
    lines = (output.out + output.err).splitlines()
    assert lines[0] == " ".join(["Usage: eqmail", *words, "[OPTIONS] COMMAND [ARGS]..."])
    assert any(line.startswith(("Commands:", "Set up:")) for line in lines)


@pytest.mark.root
def test_an_unreadable_folder_holds_no_build_settings(tmp_path: Path) -> None:
    """`su nobody` keeps the current folder of the old user."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "conf-split").write_text("many\n")
    command = [sys.executable, "-m", "eqmail_setup", "--home", "/nonexistent", "check"]
    entering = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
    ended = subprocess.run(entering, cwd=closed, env={"PYTHONPATH": str(CHECKOUT)}, capture_output=True, text=True)
    assert (
        ended.stderr == "eqmail: error: /nonexistent: no eQmail installation\nhint: eqmail --home /nonexistent setup\n"
    )


def test_an_empty_list_explains_its_meaning(home: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words, sentence in (
        (["user", "list"], "no entries; system accounts receive mail without one"),
        (["user", "list", "--smtp-auth"], "no SMTP credentials"),
        (["alias", "list"], "no aliases"),
    ):
        capsys.readouterr()
        assert run(["--home", home, *words]) == 0
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.startswith(f"eqmail: note: {sentence}\n")
        assert run(["--home", home, *words, "--json"]) == 0
        (empty,) = [value for key, value in json.loads(capsys.readouterr().out).items() if key != "schema"]
        assert empty == []


@pytest.mark.parametrize(
    ("words", "environ", "colored"),
    [
        (["--help"], {}, False),
        (["--color=always", "--help"], {}, True),
        (["--color=always", "check"], {}, True),
        (["--color=never", "check"], {}, False),
        (["check"], {"NO_COLOR": "1"}, False),
    ],
)
def test_color_is_written_where_it_is_asked_for(words: list[str], environ: dict[str, str], colored: bool) -> None:
    command = [sys.executable, "-m", "eqmail_setup", *words]
    environ = {"PYTHONPATH": str(CHECKOUT), "EQMAIL_HOME": "/nonexistent", **environ}
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, cwd="/")
    assert ("\x1b[" in ended.stdout + ended.stderr) is colored


def test_former_names_of_options_work_and_are_not_shown(home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", home, "domain", "add", "many.example", "--many", "--dry-run"]) == 0
    assert run(["--home", home, "domain", "add", "many.example", "--morercpthosts", "--dry-run"]) == 0
    for command, old, new in (
        (["domain", "add"], "--many", "--morercpthosts"),
        (["user", "add"], "--home-of-user", "--home-dir"),
        (["user", "add"], "--as ", "--user-name"),
    ):
        capsys.readouterr()
        assert run([*command, "--help"]) == 0
        shown = capsys.readouterr().out
        assert new in shown and old not in shown
