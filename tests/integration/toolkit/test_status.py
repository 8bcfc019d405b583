"""`eqmail status`, `probe` and `test send`, with services and without."""

import json
import os
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eqmail_core.service.record import write_reload
from eqmail_setup.cli.app import run
from eqmail_setup.diagnostics.status import pending_action
from eqmail_setup.errors import ExitCode
from eqmail_setup.installation.build_config import load_site
from eqmail_setup.logs import sources
from eqmail_setup.settings.reload import RequiredAction
from tests.support.mail_system import MailSystem, free_port, make_maildir, until
from tests.support.name_server import Zone
from tests.support.scripted_server import ScriptedServer


@pytest.fixture
def mail_system(at_home: str) -> Iterator[MailSystem]:
    Path(at_home, "control/smtproutes").write_text(f":127.0.0.1:{free_port()}\n")
    system = MailSystem(Path(at_home))
    yield system
    system.stop()


def value(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    capsys.readouterr()
    run([*words, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_without_services_the_status_names_what_starts_them(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["--home", at_home, "status"]) == ExitCode.PROBLEMS
    out = capsys.readouterr().out
    assert "Services     not running\n" in out
    assert f"hint: eqmail --home {at_home} run\n" in out


def test_the_status_of_running_services(mail_system: MailSystem, capsys: pytest.CaptureFixture[str]) -> None:
    home = str(mail_system.home)
    found = value(capsys, "--home", home, "status")
    assert found["schema"] == "eqmail/status-1"
    assert found["healthy"] is True
    assert found["listeners"] == [f"127.0.0.1:{mail_system.port}"]
    assert found["required_action"] == "none"
    processes = found["processes"]
    assert isinstance(processes, list)
    assert {"queue", "send", "smtpd"} <= {process["name"] for process in processes}
    capsys.readouterr()
    assert run(["--home", home, "status"]) == ExitCode.OK
    assert "SERVICE" in capsys.readouterr().out
    assert run(["--home", home, "reload"]) == 0
    until(lambda: (mail_system.home / "run/reloaded").exists(), "the record of the reload")


def test_changed_settings_wait_for_a_reload_or_a_restart(at_home: str) -> None:
    site = load_site(at_home)
    assert site is not None
    limits = Path(site.control, "remotelimits")
    limits.write_text("*:concurrency=3\n")
    changed = os.stat(limits).st_ctime
    old = changed - 1000
    for name in os.listdir(site.control):
        if name != "remotelimits":
            os.unlink(f"{site.control}/{name}")
    assert pending_action(site, old) == (RequiredAction.RELOAD, ("remotelimits",))
    assert pending_action(site, changed + 1) == (RequiredAction.NONE, ())
    write_reload(site)
    os.utime(f"{site.run}/reloaded", (changed + 1, changed + 1))
    assert pending_action(site, old) == (RequiredAction.NONE, ())
    Path(site.control, "concurrencylocal").write_text("3\n")
    assert pending_action(site, old) == (RequiredAction.RESTART, ("concurrencylocal",))


def test_recent_problems_of_the_log_are_shown(
    at_home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "log/qmail-send"
    folder.mkdir(parents=True)
    (folder / "current").write_text("1796133600.0 new msg 1\n1796133601.0 alert: unable to open mutex\n")
    monkeypatch.setattr(sources, "FOLDERS", (str(folder),))
    found = value(capsys, "--home", at_home, "status")
    assert found["problems"] == [{"when": 1796133601.0, "text": "alert: unable to open mutex"}]


def test_a_server_is_probed_step_by_step(mail_system: MailSystem, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--home", str(mail_system.home), "probe", "smtp", "--port"]
    recipient = ["--recipient", "postmaster@mail.example.org"]
    found = value(capsys, *words, str(mail_system.port), *recipient)
    servers = found["servers"]
    assert isinstance(servers, list)
    steps = {step["name"]: step["is_done"] for step in servers[0]["steps"]}
    assert steps == {"connect": True, "EHLO": True, "STARTTLS": False, "MAIL": True, "RCPT": True, "QUIT": True}
    assert run([*words, str(mail_system.port), "--recipient", "joe@far.example"]) == ExitCode.PROBLEMS
    assert "553 " in capsys.readouterr().out
    assert run([*words, str(free_port())]) == ExitCode.PROBLEMS
    assert "failed" in capsys.readouterr().out


def test_a_server_with_tls_is_probed(mail_system: MailSystem, capsys: pytest.CaptureFixture[str]) -> None:
    home = str(mail_system.home)
    assert run(["--home", home, "cert", "make"]) == 0
    assert run(["--home", home, "reload"]) == 0
    words = ["--home", home, "probe", "smtp", "--port", str(mail_system.port), "--json"]

    def has_tls() -> bool:
        capsys.readouterr()
        code = run(words)
        steps = json.loads(capsys.readouterr().out)["servers"][0]["steps"]
        done = {step["name"]: step for step in steps}
        return code == 0 and done["STARTTLS"]["is_done"] and "TLSv1" in done["STARTTLS"]["text"]

    until(has_tls, "STARTTLS")


def test_a_server_that_does_not_greet_is_probed(capsys: pytest.CaptureFixture[str], at_home: str) -> None:
    with ScriptedServer({"greet": "554 not today"}) as server:
        assert run(["--home", at_home, "probe", "smtp", "--port", str(server.port)]) == ExitCode.PROBLEMS
    assert "greeting     failed" in capsys.readouterr().out


def test_a_domain_that_takes_no_mail_is_not_probed(
    at_home: str, zone: Zone, capsys: pytest.CaptureFixture[str]
) -> None:
    zone[("null.example", "MX")] = ["0 ."]
    for domain, said in (("null.example", "accepts no mail"), ("none.example", "does not exist")):
        assert run(["--home", at_home, "probe", "mx", domain]) == ExitCode.FAILED
        assert said in capsys.readouterr().err
    assert run(["--home", at_home, "probe", "mx", "a@b"]) == ExitCode.USAGE


def test_a_test_message_is_followed(mail_system: MailSystem, capsys: pytest.CaptureFixture[str]) -> None:
    home = str(mail_system.home)
    Path(home, "alias/.qmail-ann").write_text("./Maildir/\n")
    make_maildir(Path(home, "alias/Maildir"))
    send = ("--home", home, "test", "send")
    assert value(capsys, *send, "ann@mail.example.org")["state"] == "left the queue"
    assert len(os.listdir(f"{home}/alias/Maildir/new")) == 1
    found = value(capsys, *send, "joe@far.example", "--wait", "60")
    assert (found["state"], str(found["reason"])[:6]) == ("deferred", "4.4.1 ")
    assert run([*send, "ghost@mail.example.org"]) == ExitCode.FAILED
    assert "undeliverable" in capsys.readouterr().err
    assert run([*send, "joe"]) == ExitCode.USAGE


def test_a_support_bundle_holds_no_secret(at_home: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    control = Path(at_home, "control")
    (control / "smtproutes").write_text("far.example:relay.example:587 joe hunter2secret\n")
    (control / "servercert.pem").write_text("-----BEGIN PRIVATE KEY-----\nhunter2secret\n")
    (control / "notes.txt").write_text("hunter2secret\n")
    (control / "badmailfrom").write_text("ann.smith@spam.example\n")
    Path(at_home, "users/smtpauth").write_text("joe:hunter2secret\n")
    log = tmp_path / "log"
    log.write_text(f"{time.time():.3f} starting delivery 1: msg 7 to local ann.smith@mail.example.org\n")
    bundle = tmp_path / "report.tar.gz"
    assert run(["--home", at_home, "report", str(bundle), "--redact", "--file", str(log)]) == 0
    assert bundle.stat().st_mode & 0o777 == 0o600
    with tarfile.open(bundle) as archive:
        texts = {entry.name: reader.read() for entry in archive if (reader := archive.extractfile(entry))}
    everything = b"".join(texts.values())
    assert b"hunter2secret" not in everything
    assert b"ann.smith" not in everything
    assert b"far.example:relay.example:587 ..." in texts["eqmail-report/control/smtproutes"]
    assert b"to local user-" in texts["eqmail-report/log.txt"]
    assert {f"eqmail-report/{name}.json" for name in ("versions", "status", "findings")} <= set(texts)
    assert b" notes.txt\n" in texts["eqmail-report/control.listing"]
    capsys.readouterr()
    assert run(["--home", at_home, "report", str(bundle)]) == ExitCode.USAGE
    assert "exists" in capsys.readouterr().err
