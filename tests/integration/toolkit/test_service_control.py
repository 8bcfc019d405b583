"""`eqmail service`: every action runs the commands of the selected service manager, and reports them."""

import json
import os
from pathlib import Path

import pytest

from eqmail_core.site.site import Site
from eqmail_setup.cli.app import run
from eqmail_setup.services.control import ACTIONS, COMMANDS, command_lines, files_of
from eqmail_setup.services.managers import MANAGERS
from eqmail_setup.services.state import FILE, InstalledServices
from tests.support.mail_system import MailSystem

PROGRAMS = ("sv", "runsvdir", "svc")


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the stand-ins of the service manager's commands were called with."""
    called = tmp_path / "called"
    called.touch()
    (tmp_path / "tools").mkdir()
    for name in PROGRAMS:
        path = tmp_path / "tools" / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{called}\ncase $* in *broken*) echo cannot; exit 1;; esac\n')
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/tools:{os.environ['PATH']}")
    return called


def installed(home: str, folder: Path, name: str = "qmail") -> None:
    places = (f"folder={folder}/sv", f"logdir={folder}/log", f"scanned={folder}/scan", f"name={name}")
    words = ["--home", home, "service", "install", "--manager", "runit", "--no-start", "--set", "listener=resident"]
    assert run([*words, *(word for place in places for word in ("--set", place)), "--service", "mta"]) == 0


@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize("action", ACTIONS)
def test_every_manager_has_every_action(manager: str, action: str) -> None:
    services = MANAGERS[manager].default_services
    pieces = files_of(Site(home="/srv/qmail"), InstalledServices(manager, MANAGERS[manager].name, services, ()))
    if manager == "xinetd" and action == "stop":
        return
    lines = command_lines(action, manager, pieces)
    assert lines and all(words and "{" not in " ".join(words) for words in lines)
    assert COMMANDS.keys() == MANAGERS.keys()


def test_actions_are_those_of_the_chosen_manager(at_home: str, tmp_path: Path, log: Path) -> None:
    installed(at_home, tmp_path)
    for action in ("start", "restart", "stop"):
        assert run(["--home", at_home, "service", action]) == 0
    folder = f"{tmp_path}/sv/qmail-send"
    assert log.read_text().splitlines() == [
        f"sv up {folder}",
        f"sv -w 300 restart {folder}",
        f"sv -w 300 down {folder}",
    ]


def test_a_failing_command_is_named_with_its_words(
    at_home: str, tmp_path: Path, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(at_home, tmp_path, "broken")
    assert run(["--home", at_home, "service", "start"]) == 3
    assert f"sv up {tmp_path}/sv/broken-send: cannot" in capsys.readouterr().err


def test_a_dry_run_shows_the_commands_only(
    at_home: str, tmp_path: Path, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(at_home, tmp_path)
    capsys.readouterr()
    assert run(["--home", at_home, "service", "restart", "--dry-run"]) == 0
    assert capsys.readouterr().out == f"sv -w 300 restart {tmp_path}/sv/qmail-send\n"
    assert log.read_text() == ""


def test_removing_needs_a_yes_and_removes_what_was_installed(
    at_home: str, tmp_path: Path, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(at_home, tmp_path)
    assert run(["--home", at_home, "service", "remove"]) == 3
    assert "has to be confirmed with --yes" in capsys.readouterr().err
    edited = tmp_path / "sv/qmail-send/env/PATH"
    edited.write_text("mine\n")
    assert run(["--home", at_home, "service", "remove", "--yes"]) == 0
    assert not (tmp_path / "sv/qmail-send/run").exists() and edited.read_text() == "mine\n"
    assert not Path(at_home, FILE).exists()
    assert log.read_text().splitlines()[-1] == f"sv exit {tmp_path}/sv/qmail-send"
    assert run(["--home", at_home, "service", "list"]) == 3
    assert "no service files are installed" in capsys.readouterr().err


def test_the_end_of_the_log_is_shown(
    at_home: str, tmp_path: Path, log: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    installed(at_home, tmp_path)
    Path(tmp_path, "log/qmail-send/current").write_text("one\ntwo\nthree\n")
    capfd.readouterr()
    assert run(["--home", at_home, "service", "logs", "-n", "2"]) == 0
    assert capfd.readouterr().out == "two\nthree\n"


def test_status_shows_every_process(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "service", "status"]) == 3
    assert capsys.readouterr().out.endswith("Services are not running.\n")
    system = MailSystem(Path(at_home))
    try:
        assert run(["--home", at_home, "service", "status", "--json"]) == 0
        value = json.loads(capsys.readouterr().out)
        assert value["schema"] == "eqmail/service-status-1" and value["running"]
        assert {it["name"] for it in value["processes"]} == {"lspawn", "queue", "remote", "send", "smtpd"}
        assert {it["state"] for it in value["processes"]} == {"ready"}
        assert run(["--home", at_home, "service", "status"]) == 0
        assert "qmail-start runs as process" in capsys.readouterr().out
    finally:
        system.stop()


def test_services_that_run_already_are_not_run_again(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    running = MailSystem(Path(at_home))
    try:
        pid = running.process.pid if running.process else 0
        assert run(["--home", at_home, "run"]) == 3
        assert f"the services are running already (process {pid})" in capsys.readouterr().err
    finally:
        running.stop()


def test_listing_and_showing_name_options_and_listeners(
    at_home: str, tmp_path: Path, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--service", "mta", "--service", "smtp", "--set", "listener=resident", "--set", "smtp.port=2525"]
    places = [word for key in ("folder", "logdir", "scanned") for word in ("--set", f"{key}={tmp_path}/{key}")]
    assert run(["--home", at_home, "gen-runit", "--install", *words, *places]) == 0
    capsys.readouterr()
    assert run(["--home", at_home, "service", "list", "--json"]) == 0
    services = {it["service"]: it for it in json.loads(capsys.readouterr().out)["services"]}
    assert services["smtp"]["listeners"] == ["0.0.0.0:2525"] and services["mta"]["state"] == "stopped"
    assert run(["--home", at_home, "service", "show", "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["installed"]
    assert shown["in_force"]["port"] == "2525" and f"{tmp_path}/folder/qmail-send/run" in shown["files"]
    assert run(["--home", at_home, "service", "show", "nothing"]) == 3


def test_an_unknown_manager_is_refused(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "service", "install", "--manager", "upstart"]) == 2
    assert "not one of xinetd" in capsys.readouterr().err
