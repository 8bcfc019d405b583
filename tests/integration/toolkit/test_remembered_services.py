"""Service files that are generated again keep the options and listeners they had."""

import json
from pathlib import Path

import pytest

from eqmail_core.site.site import Site
from eqmail_setup.cli.app import run
from eqmail_setup.quickstart.services import bundles_of
from eqmail_setup.services.state import FILE, InstalledServices, load_services, merged_options
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem

SERVICES = ("mta", "smtp", "submission")


@pytest.fixture
def install(at_home: str, tmp_path: Path) -> list[str]:
    places = (f"folder={tmp_path}/sv", f"logdir={tmp_path}/log", f"scanned={tmp_path}/service")
    words = ["--home", at_home, "gen-runit", "--install", "--set", "listener=resident"]
    return words + [word for place in places for word in ("--set", place)]


def chosen(services: tuple[str, ...]) -> list[str]:
    return [word for service in services for word in ("--service", service)]


def test_another_option_keeps_listeners_and_other_options(
    at_home: str, install: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*install, *chosen(SERVICES), "--set", "smtp.port=2525"]) == 0
    capsys.readouterr()
    assert run(["--home", at_home, "gen-runit", "--install", "--set", "memory=0"]) == 0
    assert "options of the installed files: folder=" in capsys.readouterr().err
    text = (tmp_path / "sv/qmail-send/run").read_text()
    assert "--smtp 0.0.0.0:2525 --smtp submission:0.0.0.0:587" in text
    (entry,) = json.loads(Path(at_home, FILE).read_text())["installed"]
    assert entry["services"] == list(SERVICES)
    assert "memory=0" in entry["options"] and "smtp.port=2525" in entry["options"]


def test_a_listener_disappears_only_when_confirmed(
    install: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_file = tmp_path / "sv/qmail-send/run"
    assert run([*install, *chosen(SERVICES)]) == 0
    before = run_file.read_bytes()
    assert run([*install, *chosen(("mta", "smtp"))]) == 3
    assert "could no longer connect to: submission" in capsys.readouterr().err
    assert run_file.read_bytes() == before
    assert run([*install, *chosen(("mta", "smtp")), "--yes"]) == 0
    assert b"587" not in run_file.read_bytes()


def test_without_a_record_the_listeners_come_from_the_installed_file(
    at_home: str, install: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*install, *chosen(SERVICES)]) == 0
    Path(at_home, FILE).unlink()
    assert run([*install, *chosen(("mta", "smtp"))]) == 3
    assert "could no longer connect to: submission:0.0.0.0:587" in capsys.readouterr().err


def test_options_can_be_forgotten(at_home: str, install: list[str], tmp_path: Path) -> None:
    assert run([*install, *chosen(SERVICES), "--set", "smtp.port=2525"]) == 0
    assert run([*install, *chosen(SERVICES), "--forget", "--yes"]) == 0
    assert "2525" not in (tmp_path / "sv/qmail-send/run").read_text()


def test_a_rollback_restores_the_record(at_home: str, install: list[str]) -> None:
    assert run([*install, *chosen(("mta", "smtp"))]) == 0
    before = Path(at_home, FILE).read_bytes()
    assert run([*install, "--set", "memory=0"]) == 0
    assert run(["--home", at_home, "rollback", "--yes"]) == 0
    assert Path(at_home, FILE).read_bytes() == before


def test_a_damaged_record_is_named(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    for content in ("[]", "{", '{"schema": "eqmail/services-1", "installed": [1]}'):
        Path(at_home, FILE).write_text(content)
        assert run(["--home", at_home, "gen-runit"]) == 3
        assert f"{at_home}/{FILE}: not a record of service files" in capsys.readouterr().err


def test_a_second_quickstart_keeps_the_options_of_the_first() -> None:
    site = Site(home="/srv/qmail")
    first = bundles_of("runit", site, ("smtp.port=2525",))
    second = bundles_of("runit", site, (), [bundle.record for bundle in first])
    assert second[0].record == first[0].record
    assert {address for piece in second[0].pieces for sock in piece.values.sockets for address in sock.addresses} >= {
        "0.0.0.0:2525"
    }


def test_the_last_value_of_an_option_counts() -> None:
    assert merged_options(("a=1", "smtp.b=2"), ("a=3",)) == ("a=3", "smtp.b=2")


def test_two_names_are_two_records(at_home: str) -> None:
    filesystem = DiskFilesystem(at_home)
    assert load_services(Site(home=at_home), filesystem) == []
    for name in ("qmail", "inside"):
        words = ["--home", at_home, "gen-xinetd", "--install", "--set", f"name={name}", "--yes"]
        assert run([*words, "--set", f"folder={at_home}/xinetd.d"]) == 0
    assert [entry.key for entry in load_services(Site(home=at_home), filesystem)] == [
        ("xinetd", "qmail"),
        ("xinetd", "inside"),
    ]
    assert isinstance(load_services(Site(home=at_home), filesystem)[0], InstalledServices)
