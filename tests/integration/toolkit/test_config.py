"""Settings: changed line by line, refused where a program could not use them, moved from one host to another."""

import json
import os
import stat
from pathlib import Path

import pytest

from eqmail_setup.cli.app import run
from eqmail_setup.errors import ExitCode
from tests.support.error_text import is_one_error
from tests.support.mail_system import MailSystem


def test_lines_are_added_and_removed_and_comments_stay(at_home: str) -> None:
    path = Path(at_home, "control/badmailfrom")
    path.write_text("# spammers\n@one.example")
    assert run(["--home", at_home, "config", "add", "badmailfrom", "@two.example", "@ONE.example"]) == 0
    assert path.read_text() == "# spammers\n@one.example\n@two.example\n"
    assert run(["--home", at_home, "config", "remove", "badmailfrom", "@one.EXAMPLE"]) == 0
    assert path.read_text() == "# spammers\n@two.example\n"


def test_a_map_loses_the_entry_of_a_key(at_home: str) -> None:
    assert run(["--home", at_home, "config", "set", "smtproutes", "a.example:relay:26", ":other"]) == 0
    assert run(["--home", at_home, "config", "remove", "smtproutes", "A.example"]) == 0
    assert Path(at_home, "control/smtproutes").read_text() == ":other\n"


def test_one_more_local_domain_does_not_take_away_the_host(at_home: str) -> None:
    Path(at_home, "control/locals").unlink()
    assert run(["--home", at_home, "config", "add", "locals", "more.example"]) == 0
    assert Path(at_home, "control/locals").read_text() == "mail.example.org\nmore.example\n"


def test_the_mode_of_a_file_stays(at_home: str) -> None:
    path = Path(at_home, "control/smtproutes")
    path.write_text("")
    path.chmod(0o640)
    assert run(["--home", at_home, "config", "set", "smtproutes", "a.example:relay user secret"]) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["set", "rcpthosts", "a.example", "b@c.example"], "rcpthosts: line 2: 'b@c.example' is not a domain"),
        (["set", "smtplisten", "25"], "is not ADDRESS:PORT"),
        (["set", "relayclients", "10.0.0.0/99"], "is not an address or a network"),
        (["set", "smtproutes", "a.example:relay:smtp"], "has an invalid port"),
        (["set", "outgoingip", "192.0.2.0/24"], "is not an address such as"),
        (["set", "smtproutes", "a.example:relay user"], "a user without a password"),
        (["set", "smtproutes", "relay"], "has no colon"),
        (["set", "queuedurability", "fast"], "is not one of journal, together, each"),
        (["set", "concurrencyremote", "300"], "is not between 0 and 255"),
        (["set", "me", "a.example\nb.example"], "more than one line"),
        (["set", "defaultdelivery", ""], "the first line is blank, so mail for users without a .qmail file waits"),
        (["set", "databyte", "1"], "unknown setting 'databyte'"),
        (["add", "databytes", "1"], "is no list but one value (bytes); use: eqmail config set databytes"),
        (["set", "databytes", "1", "--unset"], "give values for databytes, or --unset"),
        (["import", "/dev/null"], "is not what export makes"),
        (["explain", "bogus"], "unknown setting 'bogus'"),
    ],
)
def test_an_unusable_value_is_refused_with_the_remedy(
    at_home: str, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["--home", at_home, "config", *words]) == ExitCode.USAGE
    output = capsys.readouterr().err
    assert sentence in output
    assert is_one_error(output)


@pytest.mark.parametrize("command", ["lint", "check", "doctor"])
def test_a_blank_default_delivery_is_found(at_home: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(at_home, "control/defaultdelivery").write_text("\n")
    capsys.readouterr()
    run(["--home", at_home, *(["config", "lint"] if command == "lint" else [command])])
    assert "mail for users without a .qmail file waits" in capsys.readouterr().out.replace("\n", " ")


def test_compiled_files_cannot_be_set(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "config", "set", "morercpthosts.cdb", "x"]) == ExitCode.FAILED
    assert "is made of morercpthosts; set that one" in capsys.readouterr().err
    assert run(["--home", at_home, "config", "set", "morercpthosts", "many.example"]) == 0
    assert Path(at_home, "control/morercpthosts.cdb").exists()


def test_settings_move_to_another_installation(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "config", "set", "databytes", "1000"]) == 0
    Path(at_home, "control/servercert.pem").write_text("a private key\n")
    capsys.readouterr()
    assert run(["--home", at_home, "config", "export"]) == 0
    exported = capsys.readouterr().out
    assert json.loads(exported)["databytes"] == "1000\n"
    assert "a private key" not in exported
    Path("settings.json").write_text(exported)
    assert run(["--home", at_home, "config", "unset", "databytes", "rcpthosts", "--yes"]) == 0
    assert run(["--home", at_home, "config", "import", "settings.json"]) == 0
    assert Path(at_home, "control/databytes").read_text() == "1000\n"
    capsys.readouterr()
    assert run(["--home", at_home, "config", "import", "settings.json"]) == 0
    assert capsys.readouterr().out == "No changes needed.\n"


def test_an_editor_changes_a_file_and_invalid_content_is_refused(
    at_home: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("editor").write_text('#!/bin/sh\necho "$LINE" >> "$1"\n')
    os.chmod("editor", 0o755)
    monkeypatch.setenv("EDITOR", f"{os.getcwd()}/editor")
    monkeypatch.setenv("LINE", "more.example")
    assert run(["--home", at_home, "config", "edit", "rcpthosts"]) == 0
    assert Path(at_home, "control/rcpthosts").read_text() == "mail.example.org\nmore.example\n"
    monkeypatch.setenv("LINE", "@@")
    capsys.readouterr()
    assert run(["--home", at_home, "config", "edit", "rcpthosts"]) == ExitCode.USAGE
    assert "rcpthosts: line 3" in capsys.readouterr().err
    assert Path(at_home, "control/rcpthosts").read_text() == "mail.example.org\nmore.example\n"


def test_only_what_was_set_is_shown_and_passwords_never(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "config", "set", "smtproutes", ":relay user secret"]) == 0
    capsys.readouterr()
    assert run(["--home", at_home, "config", "show", "-n"]) == 0
    output = capsys.readouterr().out
    assert ["smtproutes", ":relay", "set"] in [line.split() for line in output.splitlines()]
    assert "secret" not in output and " default\n" not in output
    assert run(["--home", at_home, "config", "show", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["settings"]
    assert shown["smtproutes"] == {"value": {"": "relay"}, "set": True}
    assert shown["databytes"] == {"value": 0, "set": False}


def test_the_schema_knows_every_setting_with_its_type(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "schema"]) == 0
    properties = json.loads(capsys.readouterr().out)["properties"]
    assert properties["databytes"]["type"] == "integer"
    assert properties["rcpthosts"]["type"] == "array"
    assert properties["me"]["type"] == "string"


def test_no_editor_without_permission_or_terminal(
    at_home: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable in ("EDITOR", "VISUAL"):
        monkeypatch.delenv(variable, raising=False)
    capsys.readouterr()
    assert run(["--home", at_home, "config", "edit", "rcpthosts"]) == ExitCode.USAGE
    assert "no terminal and no $EDITOR" in capsys.readouterr().err
    monkeypatch.setenv("EDITOR", "false")
    monkeypatch.setattr(os, "access", lambda path, mode: path != at_home)
    assert run(["--home", at_home, "config", "edit", "rcpthosts"]) == ExitCode.PERMISSION
    assert is_one_error(capsys.readouterr().err)


def test_the_right_action_is_named_after_each_kind_of_change(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings = (("virtualdomains", "v.example:joe"), ("concurrencyremote", "50"), ("plusdomain", "example.org"))
    for name, value in settings:
        assert run(["--home", at_home, "config", "set", name, value]) == 0
        assert "required" not in capsys.readouterr().out  # nothing runs
        assert run(["--home", at_home, "config", "unset", name]) == 0
    system = MailSystem(Path(at_home))
    try:
        actions = (f"Reload required: eqmail --home {at_home} reload\n",)
        actions += (f"Restart required: eqmail --home {at_home} service restart\n", "")
        for (name, value), action in zip(settings, actions, strict=True):
            for options in ([], ["--reload"]):
                capsys.readouterr()
                assert run(["--home", at_home, "config", "set", name, value, *options]) == 0
                said = capsys.readouterr().out
                assert ("required" in said) == (bool(action) and not (options and "Reload" in action)), said
                assert ("Sent HUP" in said) == bool(options)
                if "required" in said:
                    assert said.endswith(action)
                assert run(["--home", at_home, "config", "unset", name]) == 0
    finally:
        system.stop()


@pytest.mark.parametrize("text", ["[1]", '{"databytes": 5}', "nonsense", '{"databytes": null}', "{"])
def test_only_exported_files_are_imported(at_home: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("settings.json").write_text(text)
    capsys.readouterr()
    assert run(["--home", at_home, "config", "import", "settings.json"]) == ExitCode.USAGE
    assert "settings.json: is not what export makes" in capsys.readouterr().err
    assert not Path(at_home, "control/databytes").exists()


@pytest.mark.parametrize(
    ("name", "given", "written", "shown"),
    [
        ("queuelifetime", "7d", "604800\n", "604800 (7d)"),
        ("databytes", "20M", "20971520\n", "20971520 (20 MB)"),
        ("tlsfallback", "on", "1\n", "on"),
        ("tlsfallback", "no", "0\n", "off"),
        ("databytes", "1000", "1000\n", "1000"),
    ],
)
def test_values_are_given_and_shown_in_units(
    at_home: str, name: str, given: str, written: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--home", at_home, "config", "set", name, given]) == 0
    assert Path(at_home, "control", name).read_text() == written
    capsys.readouterr()
    assert run(["--home", at_home, "config", "show", "-n"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"{name} ")]
    assert line.split(maxsplit=1)[1].rpartition(" set")[0].strip() == shown


@pytest.mark.parametrize(
    ("name", "value"), [("tlsfallback", "maybe"), ("queuelifetime", "1y"), ("databytes", "x"), ("databytes", "-1")]
)
def test_what_is_no_value_in_units_is_refused(at_home: str, name: str, value: str) -> None:
    assert run(["--home", at_home, "config", "set", "--", name, value]) == ExitCode.USAGE
    assert not Path(at_home, "control", name).exists()


@pytest.mark.parametrize(
    ("name", "value"), [("rcpthosts", "bad_domain..x"), ("me", "mail.example.org."), ("locals", "a" * 64 + ".example")]
)
def test_names_that_match_nothing_are_refused(at_home: str, name: str, value: str) -> None:
    before = Path(at_home, "control", name).read_bytes()
    assert run(["--home", at_home, "config", "set", name, value]) == ExitCode.USAGE
    assert Path(at_home, "control", name).read_bytes() == before


@pytest.mark.parametrize("name", ["me", "rcpthosts"])
def test_a_setting_that_is_needed_is_removed_only_when_confirmed(
    at_home: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["unset", name], ["set", name, "--unset"]):
        assert run(["--home", at_home, "config", *words]) == ExitCode.FAILED
        assert "confirm its removal with --yes" in capsys.readouterr().err
    assert Path(at_home, "control", name).exists()
    assert run(["--home", at_home, "config", "unset", name, "--yes"]) == 0
    assert not Path(at_home, "control", name).exists()


def test_settings_are_found_by_words(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["--home", at_home, "config", "search", "checkpassword", "--json"]) == 0
    assert "smtpcheckpw" in {it["setting"] for it in json.loads(capsys.readouterr().out)["settings"]}
    assert run(["--home", at_home, "config", "search", "nothing-has-this"]) == ExitCode.FAILED


def test_differences_from_the_defaults(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "config", "set", "databytes", "20M"]) == 0
    capsys.readouterr()
    assert run(["--home", at_home, "config", "diff", "--json"]) == 0
    found = {it["setting"]: it for it in json.loads(capsys.readouterr().out)["settings"]}
    assert found["databytes"] == {"setting": "databytes", "value": "20971520 (20 MB)", "default": "0"}
    assert "locals" not in found and "me" not in found and "queuelifetime" not in found


def test_an_unknown_name_is_usage_and_a_missing_entry_is_not_found(
    at_home: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["show", "databits"], ["show", "databits", "--json"], ["explain", "databits"], ["unset", "databits"]):
        capsys.readouterr()
        assert run(["--home", at_home, "config", *words]) == ExitCode.USAGE, words
        assert "databytes" in capsys.readouterr().err
    assert run(["--home", at_home, "config", "remove", "rcpthosts", "gone.example"]) == ExitCode.FAILED
    assert "rcpthosts: gone.example: not found" in capsys.readouterr().err


UNUSUAL = {
    "suspendeddomains": "busy.example\nlater.example:2126-12-01T14:00:00Z\n",
    "queuelifetimes": "slow.example:2d\n",
    "retryschedule": "30s\n1h\n",
    "milters": "inet:127.0.0.1:11332\n",
    "smtpchecks": "checks/one.py\n",
    "remotelimits": "busy.example:5\n",
}
"""Settings whose values are no plain text, with a line each."""


def test_every_kind_of_setting_is_shown(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in UNUSUAL.items():
        Path(at_home, "control", name).write_text(content)
    capsys.readouterr()
    assert run(["--home", at_home, "config", "show", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["settings"]
    for words in (["show"], ["diff"], ["search", "e"]):
        assert run(["--home", at_home, "config", *words]) == 0
        table = capsys.readouterr().out
        for name, content in UNUSUAL.items():
            assert "; ".join(content.splitlines()) in table, (words, name)
            assert shown[name]["value"] == content.splitlines()


def test_what_is_not_set_is_shown_in_one_way(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    for name in ("servercert.pem", "smtproutes", "smtpcheckpw"):
        assert run(["--home", at_home, "config", "show", name]) == 0
        assert "value: (not set)\n" in capsys.readouterr().out, name
