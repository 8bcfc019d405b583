"""Every run is on record before it begins, and is taken back as a whole: by request, or because it was cut off."""

import json
import os
from pathlib import Path

import pytest

from eqmail_setup.cli.app import run
from eqmail_setup.errors import ExitCode
from eqmail_setup.transaction.history import History
from tests.integration.toolkit.conftest import killed_at, picture
from tests.support.error_text import is_one_error

# Commands that change something in a fresh installation; each is run twice, cut off everywhere, and taken back.
CHANGES = [
    ["alias", "init", "joe@elsewhere.example"],
    ["alias", "add", "first.last", "joe@elsewhere.example", "./archive/"],
    ["alias", "remove", "old"],
    ["user", "add", "foo"],
    ["user", "add", "old", "--no-maildir", "--replace"],
    ["user", "remove", "old"],
    ["user", "compile"],
    ["domain", "add", "example.net"],
    ["domain", "add", "example.net", "--virtual", "joe", "--many"],
    ["domain", "remove", "old.example"],
    ["config", "set", "databytes", "1000000"],
    ["config", "add", "badmailfrom", "@spam.example"],
    ["config", "remove", "rcpthosts", "old.example"],
    ["config", "unset", "plusdomain"],
]


def prepare(home: str) -> None:
    Path(home, "alias/.qmail-old").write_text("joe@elsewhere.example\n")
    for file in ("locals", "rcpthosts"):
        with open(f"{home}/control/{file}", "a") as control:
            control.write("# others\nold.example\n")
    Path(home, "users/assign").write_text("=old:x:7:7:/home/x:::\n+:alias:8:8:/a:-::\n.\nafter\n")


@pytest.mark.parametrize("words", CHANGES, ids=[" ".join(words[:3]) for words in CHANGES])
def test_a_second_run_has_nothing_to_do_and_a_dry_run_does_nothing(
    at_home: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(at_home)
    before = picture(at_home)
    assert run(["--home", at_home, *words, "--dry-run"]) == 0
    assert picture(at_home) == before
    assert run(["--home", at_home, *words]) == 0
    changed = picture(at_home)
    assert changed != before
    capsys.readouterr()
    if words[1] == "remove":
        assert run(["--home", at_home, *words]) == ExitCode.FAILED
        assert "not found" in capsys.readouterr().err
        assert picture(at_home) == changed
        return
    assert run(["--home", at_home, *words]) == 0
    assert capsys.readouterr().out.endswith("No changes needed.\n")
    assert run(["--home", at_home, *words, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changes"] == []
    assert picture(at_home) == changed


@pytest.mark.parametrize("words", CHANGES, ids=[" ".join(words[:3]) for words in CHANGES])
def test_a_rollback_restores_everything_and_can_be_rolled_back_itself(at_home: str, words: list[str]) -> None:
    prepare(at_home)
    before = picture(at_home)
    assert run(["--home", at_home, *words]) == 0
    changed = picture(at_home)
    assert run(["--home", at_home, "rollback"]) == 0
    assert picture(at_home) == before
    assert run(["--home", at_home, "rollback", str(History(at_home).numbers()[-1])]) == 0
    assert picture(at_home) == changed


@pytest.mark.slow
@pytest.mark.parametrize("words", CHANGES, ids=[" ".join(words[:3]) for words in CHANGES])
def test_a_run_that_is_killed_anywhere_is_undone_by_the_next_one(at_home: str, words: list[str]) -> None:
    prepare(at_home)
    before = picture(at_home)
    step = 0
    while killed_at(step, ["--home", at_home, *words]):
        # The next run is one that finds nothing to do by itself.
        assert run(["--home", at_home, "config", "unset", "databytes"]) == 0
        assert picture(at_home) == before, f"after a kill before change {step}"
        step += 1
    assert step > 3
    assert picture(at_home) != before


def test_a_kill_while_a_broken_run_is_undone_does_no_harm(at_home: str) -> None:
    before = picture(at_home)
    words = ["--home", at_home, "alias", "init", "joe@elsewhere.example"]
    cut = 25
    assert killed_at(cut, words)
    step = 0
    while killed_at(step, ["--home", at_home, "config", "unset", "databytes"]):
        step += 1
        assert step < 100
    assert picture(at_home) == before


def test_files_edited_after_an_interruption_are_left_alone(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--home", at_home, "alias", "init", "joe@elsewhere.example"]
    postmaster = Path(at_home, "alias/.qmail-postmaster")
    step = 10
    while killed_at(step, words) and not postmaster.exists():
        run(["--home", at_home, "config", "unset", "databytes"])
        step += 1
    postmaster.write_text("me@mine.example\n")
    capsys.readouterr()
    assert run(["--home", at_home, "config", "unset", "databytes"]) == 0
    assert "changed since, not restored" in capsys.readouterr().err
    assert postmaster.read_text() == "me@mine.example\n"


def test_a_rollback_is_refused_where_something_was_changed_since(
    at_home: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--home", at_home, "alias", "init", "joe@elsewhere.example"]) == 0
    Path(at_home, "alias/.qmail-root").write_text("me@mine.example\n")
    changed = picture(at_home)
    capsys.readouterr()
    assert run(["--home", at_home, "rollback"]) == ExitCode.FAILED
    output = capsys.readouterr().err
    assert "changed since transaction" in output
    assert is_one_error(output)
    assert picture(at_home) == changed
    assert run(["--home", at_home, "rollback", "--force"]) == 0
    assert not os.path.exists(f"{at_home}/alias/.qmail-root")


def test_the_first_setup_can_be_rolled_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    home = str(tmp_path / "home")
    assert run(["--home", home, "setup", "--single-user"]) == 0
    assert run(["--home", home, "rollback"]) == ExitCode.FAILED, "only where it is named"
    assert run(["--home", home, "rollback", "1"]) == 0
    assert sorted(os.listdir(home)) == [".setup.lock", "history"]


def test_the_first_settings_can_be_rolled_back(at_home: str) -> None:
    before = picture(at_home)
    assert run(["--home", at_home, "config-fast", "new.example.net"]) == 0
    assert Path(at_home, "control/me").read_text() == "new.example.net\n"
    assert run(["--home", at_home, "rollback"]) == 0
    assert picture(at_home) == before


def test_a_queue_with_mail_in_it_is_not_rolled_back(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(at_home, "queue/mess/0/28").write_text("a message\n")
    capsys.readouterr()
    assert run(["--home", at_home, "rollback", "1"]) == ExitCode.FAILED
    assert "since transaction 1; --force undoes it" in capsys.readouterr().err
    assert Path(at_home, "queue/mess/0/28").exists()


@pytest.mark.parametrize("step", [0, 4, 25, 130, 300])
def test_a_setup_that_was_killed_is_done_by_the_next_setup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.chdir(tmp_path)
    home = str(tmp_path / "home")
    Path("conf-split").write_text("2\n")
    words = ["--home", home, "setup", "--single-user"]
    assert killed_at(step, words)
    assert run(words) == 0
    assert run(["--home", home, "config-fast", "mail.example.org"]) == 0
    assert run(["--home", home, "check"]) == 0


def test_the_history_is_readable_for_its_owner_only_and_lists_each_run(
    at_home: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--home", at_home, "alias", "add", "sales", "joe@elsewhere.example"]) == 0
    folder = Path(at_home, "history")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*"))
    capsys.readouterr()
    assert run(["--home", at_home, "history"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("eqmail alias add sales joe@elsewhere.example")
    assert run(["--home", at_home, "history", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["transactions"][-1]["paths"] == ["alias/.qmail-sales"]
    assert run(["--home", at_home, "history", "99"]) == ExitCode.FAILED
    assert "transaction 99: not found" in capsys.readouterr().err


def test_a_damaged_record_is_one_line(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    number = History(at_home).numbers()[-1]
    Path(at_home, f"history/{number}.json").write_text("{}")
    capsys.readouterr()
    assert run(["--home", at_home, "history"]) == ExitCode.FAILED
    assert "damaged" in capsys.readouterr().err


def test_the_history_shows_a_command_with_its_options_and_without_its_secrets(
    at_home: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--home", at_home, "user", "add", "old", "--no-maildir", "--replace"]) == 0
    assert run(["--home", at_home, "config", "set", "timeoutconnect", "50", "--yes"]) == 0
    capsys.readouterr()
    assert run(["--home", at_home, "history"]) == 0
    output = capsys.readouterr().out
    (added,) = [line for line in output.splitlines() if "user add" in line]
    assert "user add old" in added and "--no-maildir" in added and "--replace" in added
    (settled,) = [line for line in output.splitlines() if "timeoutconnect" in line]
    assert "config set timeoutconnect 50" in settled and "--yes" not in settled


def test_a_transaction_without_changes_is_not_on_record(at_home: str) -> None:
    before = History(at_home).numbers()
    assert run(["--home", at_home, "setup"]) == 0
    assert History(at_home).numbers() == before


def test_a_record_of_the_first_format_is_read(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "alias", "add", "sales", "joe@elsewhere.example"]) == 0
    number = History(at_home).numbers()[-1]
    path = Path(at_home, f"history/{number}.json")
    value = json.loads(path.read_text())
    after = value["changes"][0]["after"] | {"kind": "a file"}
    old = {"number": number, "began": value["started"], "who": "root", "command": "eqmail alias add sales"}
    old |= {"state": "done", "undoes": 0, "steps": [{"path": "alias/.qmail-sales", "before": None, "after": after}]}
    path.write_text(json.dumps(old))
    assert run(["--home", at_home, "rollback"]) == 0
    assert not os.path.lexists(f"{at_home}/alias/.qmail-sales")


def test_logs_do_not_stop_a_rollback_and_stay(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "user", "add", "foo"]) == 0
    Path(at_home, "users/foo/current").write_text("a log\n")
    assert run(["--home", at_home, "rollback"]) == 0
    assert Path(at_home, "users/foo/current").exists()
    assert "directory not removed: holds current" in capsys.readouterr().out


def test_a_change_of_one_transaction_is_shown_as_a_diff(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "config", "set", "databytes", "1000"]) == 0
    number = str(History(at_home).numbers()[-1])
    capsys.readouterr()
    assert run(["--home", at_home, "history", number, "--diff"]) == 0
    assert "+1000" in capsys.readouterr().out.splitlines()
    for words in (["config", "unset", "databytes", "--diff"], ["rollback", "--diff"]):
        assert run(["--home", at_home, *words]) == 0
        assert "-1000" in capsys.readouterr().out.splitlines(), words


def test_the_history_has_a_header_and_a_limit(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "config", "set", "databytes", "1000"]) == 0
    capsys.readouterr()
    assert run(["--home", at_home, "history", "--limit", "1"]) == 0
    header, row, total = capsys.readouterr().out.splitlines()
    assert header.split() == ["NUMBER", "TIME", "USER", "CHANGES", "STATE", "COMMAND"]
    assert row.endswith("eqmail config set databytes 1000")
    assert total == "1 of 3 transactions; --limit 0 shows all"
