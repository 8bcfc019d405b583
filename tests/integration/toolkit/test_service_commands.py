"""The commands: they print, write below a folder, stage, or install; they are idempotent, and edits are kept."""

import json
import os
from pathlib import Path

import pytest

from eqmail_setup.cli.app import run
from eqmail_setup.errors import ExitCode
from eqmail_setup.services.managers import MANAGERS

COMMANDS = ("gen-xinetd", "gen-init", "gen-daemontools", "gen-runit", "gen-s6", "gen-systemd")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EQMAIL_HOME", raising=False)
    made = str(tmp_path / "home")
    assert run(["--home", made, "setup", "--single-user"]) == 0
    assert run(["--home", made, "config-fast", "mail.example.org"]) == 0
    return made


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_place_the_files_are_printed_and_nothing_is_written(
    command: str, home: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_below(Path(home))
    capsys.readouterr()
    assert run(["--home", home, command]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("==> /")
    assert f"{home}/bin/" in printed
    assert run(["--home", home, command, "--json"]) == 0
    for file in json.loads(capsys.readouterr().out)["files"]:
        assert file["content"] in printed
        assert f"==> {file['path']} ({file['mode']}) <==" in printed
    assert files_below(Path(home)) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_the_second_run_has_nothing_to_do(
    command: str, home: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {
        "output": ["--output", str(tmp_path / "files")],
        "stage": ["--install", "--root", str(tmp_path / "stage")],
    }
    for place in places.values():
        capsys.readouterr()
        assert run(["--home", home, command, *place]) == 0
        assert "Wrote " in capsys.readouterr().out
        assert run(["--home", home, command, *place]) == 0
        assert capsys.readouterr().out == "No changes needed.\n"
        assert run(["--home", home, command, *place, "--dry-run"]) == 0
        assert capsys.readouterr().out == "No changes needed.\n"


def test_an_installation_is_recorded_and_can_be_rolled_back(
    home: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--home", home, "gen-runit", "--set", f"folder={tmp_path}/sv", "--set", f"logdir={tmp_path}/log"]
    capsys.readouterr()
    assert run([*words, "--install", "--diff"]) == 0
    assert "+#!/bin/sh" in capsys.readouterr().out
    assert not (tmp_path / "sv").exists()
    assert run([*words, "--install"]) == 0
    assert f"to begin:\n  ln -s {tmp_path}/sv/qmail-send {tmp_path}/sv/qmail-smtpd" in capsys.readouterr().out
    assert os.access(tmp_path / "sv/qmail-send/run", os.X_OK)
    assert run([*words, "--install"]) == 0
    assert capsys.readouterr().out.startswith("No changes needed.\n")
    assert run(["--home", home, "rollback"]) == 0
    assert not (tmp_path / "sv").exists()


def test_what_was_edited_is_kept_and_named(home: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--home", home, "gen-s6", "--output", str(tmp_path / "files")]
    assert run(words) == 0
    edited = tmp_path / "files/qmail-send/run"
    edited.write_text(edited.read_text() + "# mine\n")
    capsys.readouterr()
    assert run([*words, "--set", "delivery=./Other/"]) == 0
    assert f"{edited}: locally modified, kept" in capsys.readouterr().out
    assert edited.read_text().endswith("# mine\n")


def test_other_settings_renew_what_was_not_edited(home: str, tmp_path: Path) -> None:
    words = ["--home", home, "gen-systemd", "--output", str(tmp_path / "files")]
    assert run(words) == 0
    assert run([*words, "--set", "port=2525"]) == 0
    assert "ListenStream=0.0.0.0:2525" in (tmp_path / "files/eqmail-smtp.socket").read_text()


def test_a_staging_folder_has_a_manifest_of_owners(home: str, tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    assert run(["--home", home, "gen-xinetd", "--install", "--root", str(stage)]) == 0
    assert run(["--home", home, "gen-s6", "--install", "--root", str(stage)]) == 0
    manifest = (stage / "eqmail.manifest").read_text().splitlines()
    paths = {line.split(" ", 3)[3]: line.split(" ")[0] for line in manifest}
    assert paths["/etc/xinetd.d/smtp"] == "0644"
    assert paths[f"{home}/boot/qmail-xinetd"] == "0755"
    assert paths["/etc/s6/sv/qmail-send/run"] == "0755"
    assert all((stage / path.lstrip("/")).exists() for path in paths)


def test_local_templates_take_precedence(home: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own/services/xinetd"
    own.mkdir(parents=True)
    words = ["--home", home, "gen-xinetd", "--templates", str(tmp_path / "own")]
    (own / "service.j2").write_text("# @SEAL@\nservice {{ service }} at {{ port }}\n")
    capsys.readouterr()
    assert run(words) == 0
    printed = capsys.readouterr().out
    assert "service smtp at 25\n" in printed
    assert "exec 3>&1" in printed
    for text, reason in (
        ("# @SEAL@\n{{ colour }}\n", "'colour' is undefined"),
        ("# @SEAL@\n{% for %}\n", "TemplateSyntaxError"),
        ("no seal\n", "needs a line '# @SEAL@'"),
    ):
        (own / "service.j2").write_text(text)
        os.utime(own / "service.j2", (0, len(text)))
        assert run(words) == ExitCode.FAILED
        assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--output", "x", "--install"],
        ["--root", "x"],
        ["--service", "imap"],
        ["--templates", "nowhere"],
        ["--set", "nothing"],
    ],
)
def test_contradictory_options_are_a_usage_error(words: list[str], home: str) -> None:
    assert run(["--home", home, "gen-xinetd", *words]) == ExitCode.USAGE


def test_without_an_installation_the_error_names_setup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["--home", str(tmp_path / "none"), "gen-init"]) == ExitCode.FAILED
    assert "no eQmail installation\nhint: eqmail --home" in capsys.readouterr().err


def test_the_keys_of_a_service_manager_are_listed(home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", home, "gen-init", "--flavour", "openrc", "--settings"]) == 0
    listed = capsys.readouterr().out
    assert "pidfile=/run/qmail.pid\n" in listed
    assert "tcpserver=" not in listed


@pytest.mark.parametrize(("command", "manager"), [("gen-systemd", "systemd"), ("gen-init", "openrc")])
def test_nothing_is_written_for_a_manager_that_does_not_run(
    command: str,
    manager: str,
    home: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "bin").mkdir()
    for program in ("systemctl", "rc-service", "rc-update"):
        path = tmp_path / "bin" / program
        path.write_text("#!/bin/sh\nexit 1\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setitem(MANAGERS, manager, MANAGERS[manager]._replace(sign=str(tmp_path / "not-here")))
    words = [command, "--install", "--start", "--set", f"folder={tmp_path}/files"]
    assert run(["--home", home, *words, *(["--flavour", manager] if command == "gen-init" else [])]) == ExitCode.FAILED
    assert "does not run here" in capsys.readouterr().err
    assert not (tmp_path / "files").exists()
