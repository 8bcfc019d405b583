"""The doctor: every fault has its name, its weight and its remedy; a healthy installation has no errors."""

import json
import os
import pwd
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from eqmail_core.site.site import Site
from eqmail_core.tcpserver.rules_database import compile_rules
from eqmail_core.users.user import User
from eqmail_setup.cli.app import run
from eqmail_setup.diagnostics.checks import deliverability, old_programs
from eqmail_setup.diagnostics.checks import services as outside_view
from eqmail_setup.diagnostics.checks import settings as examination
from eqmail_setup.diagnostics.ids import IDS
from eqmail_setup.diagnostics.runner import CHECKS
from eqmail_setup.errors import ExitCode, Severity
from eqmail_setup.installation.build_config import resolve_build_config
from eqmail_setup.mail.local_delivery import look_into_home
from eqmail_setup.network import listeners
from tests.support.isolated_root import ROOT
from tests.support.mail_system import MailSystem, make_maildir, until
from tests.support.name_server import Zone


def findings(home: str, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, dict[str, Any]]:
    capsys.readouterr()
    run(["--home", home, "doctor", "--offline", "--json", "--skip", "permissions.unreachable", *words])
    return {item["id"]: item for item in json.loads(capsys.readouterr().out)["findings"]}


@pytest.fixture
def healthy(at_home: str) -> str:
    assert run(["--home", at_home, "alias", "init", "joe@elsewhere.example"]) == 0
    Path(at_home, "control/rcptcheck").write_text("*\n")
    return at_home


def test_a_healthy_installation_that_does_not_run_has_one_warning(
    healthy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(findings(healthy, capsys)) == ["listening.stopped"]
    words = ["--home", healthy, "doctor", "--offline", "--skip", "permissions.unreachable"]
    assert run(words) == ExitCode.PROBLEMS
    assert run([*words, "--skip", "listening"]) == 0


@pytest.mark.root
def test_the_settings_can_be_examined_without_root(real_home: Path) -> None:
    words = [sys.executable, "-m", "eqmail_setup", "--home", str(real_home), "doctor", "--offline"]
    codes = {}
    for only in ("settings", "queue"):
        ended = subprocess.run([*words, "--only", only], user="nobody", group=65534, extra_groups=[], env={}, cwd=ROOT)
        codes[only] = ended.returncode
    assert codes == {"settings": 0, "queue": ExitCode.PERMISSION}


def test_an_invalid_listener_is_a_finding_and_hides_no_other(healthy: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(healthy, "control/smtplisten").write_text("25\n[::1]:x\n")
    found = findings(healthy, capsys)
    assert set(found) == {"settings.smtplisten", "listening.stopped"}
    assert "'25' is not ADDRESS:PORT" in found["settings.smtplisten"]["message"]
    capsys.readouterr()
    assert run(["--home", healthy, "check"]) == ExitCode.PROBLEMS
    assert "smtplisten: '25' is not ADDRESS:PORT" in capsys.readouterr().out


def test_an_unreadable_rcpthosts_is_not_a_missing_one(healthy: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(healthy, "control/rcpthosts").unlink()
    Path(healthy, "control/rcpthosts").mkdir()
    found = findings(healthy, capsys)
    assert {"settings.unreadable", "relaying.unreadable"} <= set(found)
    assert "relaying.open" not in found
    assert "removing it would open the relay" in found["relaying.unreadable"]["suggestion"]


def test_a_check_that_fails_ends_no_other(healthy: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(healthy, "control/locals").unlink()
    Path(healthy, "control/locals").mkdir()
    found = findings(healthy, capsys)
    assert {"settings.unreadable", "aliases.failed", "listening.stopped"} <= set(found)
    assert "locals: Is a directory" in found["aliases.failed"]["message"]


def test_an_empty_name_of_the_host_is_found(healthy: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(healthy, "control/me").write_text("\n")
    assert findings(healthy, capsys)["settings.me"]["message"].endswith("me: is empty; every host has a name")


def test_backscatter_has_a_remedy(healthy: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(healthy, "control/rcptcheck").unlink()
    found = findings(healthy, capsys, "--skip", "listening")
    assert list(found) == ["relaying.backscatter"]
    assert found["relaying.backscatter"]["hint"] == ["eqmail", "config", "set", "rcptcheck", "*"]
    assert run(["--home", healthy, "config", "set", "rcptcheck", "*"]) == 0
    assert not findings(healthy, capsys, "--skip", "listening")


def _certificate(home: str, days: float, mode: int = 0o640) -> None:
    end = datetime.now(UTC) + timedelta(days=days)
    made = trustme.CA().issue_cert("mail.example.org", not_after=end, not_before=end - timedelta(days=1))
    path = Path(home, "control/servercert.pem")
    path.write_bytes(made.private_key_and_cert_chain_pem.bytes())
    path.chmod(mode)


def _write(path: str, content: str) -> Callable[[str], None]:
    def write(home: str) -> None:
        Path(home, path).write_text(content)

    return write


def _stale(home: str) -> None:
    assert run(["--home", home, "user", "add", "foo"]) == 0
    Path(home, "users/assign").write_text(".\n")


def _message(name: str, *folders: str) -> Callable[[str], None]:
    def make(home: str) -> None:
        for folder in folders:
            Path(home, "queue", folder, str(int(name) % 2), name).touch()

    return make


def _misplaced(home: str) -> None:
    path = Path(home, "queue/mess/0/x")
    path.touch()
    number = path.stat().st_ino
    path.rename(Path(home, "queue/mess", str((number + 1) % 2), str(number)))


FAULTS: list[tuple[str, str, Callable[[str], None]]] = [
    ("permissions.differs", "error", lambda home: os.chmod(f"{home}/queue/mess", 0o777)),
    ("queue.inode", "error", _message("1", "mess", "todo")),
    ("queue.state", "error", _message("2", "info", "local")),
    ("queue.split", "error", _misplaced),
    ("queue.stranger", "warning", lambda home: Path(home, "queue/mess/0/core").touch()),
    ("settings.virtualdomains", "error", _write("control/virtualdomains", "mail.example.org:joe\n")),
    ("settings.concurrencyremote", "error", _write("control/concurrencyremote", "many\n")),
    ("settings.plusdomain", "warning", _write("control/plusdomain", "co.uk\n")),
    ("settings.rcpthosts", "error", _write("control/rcpthosts", "other.example\n")),
    ("relaying.open", "error", lambda home: os.unlink(f"{home}/control/rcpthosts")),
    ("relaying.everybody", "error", _write("control/relayclients", "0.0.0.0/0\n")),
    ("users.stale", "error", _stale),
    ("users.assign", "error", _write("users/assign", "nonsense\n")),
    ("users.no-text", "warning", _write("users/cdb", "")),
    ("aliases.missing", "warning", lambda home: os.unlink(f"{home}/alias/.qmail-abuse")),
    ("aliases.trouble", "error", _write("alias/.qmail-postmaster", "\n")),
    ("certificates.expired", "error", lambda home: _certificate(home, -1)),
    ("certificates.expires", "warning", lambda home: _certificate(home, 3)),
    ("certificates.open-key", "error", lambda home: _certificate(home, 300, 0o644)),
    ("certificates.unreadable", "error", _write("control/servercert.pem", "nothing\n")),
    ("settings.milters", "error", _write("control/milters", "nonsense timeout=soon\n")),
    ("filters.milter", "error", _write("control/milters", "unix:/nonexistent\n")),
    ("filters.check", "error", _write("control/smtpchecks", "nonexistent\n")),
]


@pytest.mark.parametrize(("name", "weight", "damage"), FAULTS, ids=[name for name, _, _ in FAULTS])
def test_a_fault_is_found_under_its_name_with_a_remedy(
    healthy: str, name: str, weight: str, damage: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    damage(healthy)
    found = findings(healthy, capsys)
    assert found[name]["severity"] == weight
    assert found[name]["suggestion"] or found[name]["hint"]
    assert list(findings(healthy, capsys, "--only", name)) == [name]
    assert name not in findings(healthy, capsys, "--skip", name.partition(".")[0])
    assert run(["--home", healthy, "doctor", "--offline", "--only", name]) == ExitCode.PROBLEMS
    if weight != "error":
        assert run(["--home", healthy, "doctor", "--offline", "--only", name, "--fail-on", "error"]) == 0


def test_rules_that_let_every_client_relay_are_found(
    healthy: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(examination, "RULES", ("{home}/tcp.cdb",))
    compile_rules(f"{healthy}/tcp.cdb", f"{healthy}/tcp.tmp", [b'127.:allow,RELAYCLIENT=""\n', b":allow\n"])
    assert "relaying.rules" not in findings(healthy, capsys)
    compile_rules(f"{healthy}/tcp.cdb", f"{healthy}/tcp.tmp", [b':allow,RELAYCLIENT=""\n'])
    assert findings(healthy, capsys)["relaying.rules"]["severity"] == "error"


GOOD_ZONE = {
    ("mail.example.org", "A"): ["192.0.2.1"],
    ("mail.example.org", "AAAA"): ["2001:db8::1"],
    ("mail.example.org", "MX"): ["10 mail.example.org."],
    ("mail.example.org", "TXT"): ['"v=spf1 mx " "-all"'],
    ("_dmarc.mail.example.org", "TXT"): ['"v=DMARC1; p=none"'],
    ("1.2.0.192.in-addr.arpa", "PTR"): ["mail.example.org."],
    (f"1.{'0.' * 23}8.b.d.0.1.0.0.2.ip6.arpa", "PTR"): ["mail.example.org."],
}
WITHOUT: list[tuple[str, str, Zone]] = [
    ("dns.address", "error", {("mail.example.org", "A"): [], ("mail.example.org", "AAAA"): []}),
    ("dns.reverse", "warning", {("1.2.0.192.in-addr.arpa", "PTR"): ["other.example."]}),
    ("dns.reverse", "warning", {(f"1.{'0.' * 23}8.b.d.0.1.0.0.2.ip6.arpa", "PTR"): []}),
    ("dns.mx-address", "error", {("mail.example.org", "MX"): ["10 gone.example.org."]}),
    ("dns.mta-sts", "warning", {("_mta-sts.mail.example.org", "TXT"): ['"v=STSv1; id=1"']}),
    ("dns.tlsrpt", "warning", {("_smtp._tls.mail.example.org", "TXT"): ['"v=TLSRPTv1;"']}),
    ("dns.spf", "warning", {("mail.example.org", "TXT"): ['"something else"']}),
    ("dns.dmarc", "info", {("_dmarc.mail.example.org", "TXT"): []}),
    ("dns.unanswered", "warning", {("mail.example.org", "MX"): ["10 servfail.example.org."]}),
]


def test_a_zone_that_is_right_has_no_findings(healthy: str, zone: Zone, capsys: pytest.CaptureFixture[str]) -> None:
    zone |= GOOD_ZONE
    assert run(["--home", healthy, "doctor", "--only", "dns"]) == 0
    assert capsys.readouterr().out == f"{healthy}: no problems found\n"


@pytest.mark.parametrize(("name", "weight", "instead"), WITHOUT, ids=[name for name, _, _ in WITHOUT])
def test_a_fault_of_the_zone_is_found_under_its_name(
    healthy: str, zone: Zone, name: str, weight: str, instead: Zone, capsys: pytest.CaptureFixture[str]
) -> None:
    zone |= GOOD_ZONE | instead
    capsys.readouterr()
    run(["--home", healthy, "doctor", "--only", "dns", "--json"])
    found = {item["id"]: item for item in json.loads(capsys.readouterr().out)["findings"]}
    assert found[name]["severity"] == weight
    assert found[name]["suggestion"]


def test_a_tlsa_record_of_another_key_is_an_error(healthy: str, zone: Zone, capsys: pytest.CaptureFixture[str]) -> None:
    run(["--home", healthy, "cert", "make"])
    zone |= GOOD_ZONE | {("_25._tcp.mail.example.org", "TLSA"): ["3 1 1 " + "ab" * 32]}
    capsys.readouterr()
    assert run(["--home", healthy, "doctor", "--only", "dns", "--json"]) == ExitCode.PROBLEMS
    (found,) = json.loads(capsys.readouterr().out)["findings"]
    assert (found["id"], found["severity"]) == ("dns.tlsa", "error")


def test_an_unresolvable_domain_is_an_error(healthy: str, zone: Zone, capsys: pytest.CaptureFixture[str]) -> None:
    zone |= GOOD_ZONE
    assert run(["--home", healthy, "domain", "add", "lost.example"]) == 0
    capsys.readouterr()
    assert run(["--home", healthy, "doctor", "--only", "dns.mx", "--json"]) == ExitCode.PROBLEMS
    (found,) = json.loads(capsys.readouterr().out)["findings"]
    assert found["message"] == "lost.example: no MX record and no address"


def test_a_running_server_is_asked_whether_it_relays_and_reloads(
    healthy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mail_system = MailSystem(Path(healthy))
    try:
        address = f"127.0.0.1:{mail_system.port}"
        assert findings(healthy, capsys, "--smtp", address) == {}
        assert "selftest.trusted" not in findings(healthy, capsys, "--smtp", address)
        assert run(["--home", healthy, "config", "add", "rcpthosts", "relay-test.invalid", "--reload"]) == 0
        assert "Sent HUP to qmail-start" in capsys.readouterr().out
        for _ in range(50):
            found = findings(healthy, capsys, "--only", "selftest", "--smtp", address)
            if found:
                break
        assert found["selftest.relays"]["severity"] == "error"
    finally:
        mail_system.stop()


def test_services_that_are_paused_are_found(healthy: str, capsys: pytest.CaptureFixture[str]) -> None:
    mail_system = MailSystem(Path(healthy))
    assert mail_system.process is not None
    try:
        assert not findings(healthy, capsys, "--only", "listening")
        mail_system.process.send_signal(signal.SIGSTOP)
        until(lambda: list(findings(healthy, capsys, "--only", "listening")) == ["listening.paused"], "the finding")
        mail_system.process.send_signal(signal.SIGCONT)
        until(lambda: not findings(healthy, capsys, "--only", "listening"), "its end")
    finally:
        mail_system.kill()


@pytest.mark.parametrize(
    ("checker", "environ", "found"),
    [("/bin/true", {}, True), ("/bin/true", {"TLSREQUIRED": "1"}, False), ("", {}, False)],
)
def test_passwords_without_tls_are_found_by_what_the_services_were_started_with(
    healthy: str, checker: str, environ: dict[str, str], found: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(healthy, "control/smtpcheckpw").write_text(checker)
    mail_system = MailSystem(Path(healthy), **environ)
    try:
        names = findings(healthy, capsys, "--only", "listening")
        assert ("listening.clear-passwords" in names) == found
    finally:
        mail_system.kill()


@pytest.mark.parametrize(("ports", "found"), [("587", True), ("587 465", False), (None, True)])
def test_a_submission_port_without_required_login_is_found(
    healthy: str,
    ports: str | None,
    found: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path(healthy, "control/smtpcheckpw").write_text("/bin/true\n")
    mail_system = MailSystem(Path(healthy), TLSREQUIRED="1", **({"SUBMISSIONPORT": ports} if ports else {}))
    try:
        # As if it listened on the usual ports, which the machine of the test may use for itself.
        ours = [one for one in listeners.listeners() if one.port == mail_system.port]
        assert ours
        monkeypatch.setattr(
            outside_view, "listeners", lambda: [one._replace(port=p) for one in ours for p in (465, 587)]
        )
        names = findings(healthy, capsys, "--only", "listening")
        assert ("listening.submission" in names) == found
        if found:
            assert names["listening.submission"]["message"].startswith("port 465: ")
    finally:
        mail_system.kill()


def test_a_port_that_requires_a_login_is_healthy(healthy: str, capsys: pytest.CaptureFixture[str]) -> None:
    mail_system = MailSystem(Path(healthy))
    try:
        mail_system.stop()
        mail_system.environ["SUBMISSIONPORT"] = f"587 {mail_system.port}"
        mail_system.start()
        assert findings(healthy, capsys, "--only", "selftest", "--smtp", f"127.0.0.1:{mail_system.port}") == {}
    finally:
        mail_system.stop()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(["--only", "bogus"], "unknown check or finding 'bogus'"), (["--smtp", "25"], "write ADDRESS:PORT")],
)
def test_a_mistake_is_a_usage_error(
    healthy: str, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["--home", healthy, "doctor", *words]) == ExitCode.USAGE
    assert sentence in capsys.readouterr().err


def test_a_service_that_was_started_again_is_named_with_its_reason(
    healthy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mail_system = MailSystem(Path(healthy))
    try:
        pids = {name: pid for pid, name in mail_system.services().items()}
        os.kill(pids["qmail-clean"], signal.SIGKILL)
        until(lambda: "listening.restarted" in findings(healthy, capsys, "--only", "listening"), "the finding")
        found = findings(healthy, capsys, "--only", "listening")
        assert list(found) == ["listening.restarted"]
        assert found["listening.restarted"]["message"].startswith("queue: ended 1 times, last at ")
        assert "died of signal 9; it runs again since " in found["listening.restarted"]["message"]
    finally:
        mail_system.stop()


def test_a_service_that_cannot_start_again_is_named_with_the_file(
    healthy: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside_view, "TIMEOUT_S", 3.0)
    mail_system = MailSystem(Path(healthy))
    lock = Path(healthy, "queue/journal/lock")
    try:
        pids = {name: pid for pid, name in mail_system.services().items()}
        lock.unlink()
        lock.mkdir()
        os.kill(pids["qmail-clean"], signal.SIGKILL)
        until(lambda: "listening.service" in findings(healthy, capsys, "--only", "listening.service"), "the finding")
        until(
            lambda: "journal" in findings(healthy, capsys, "--only", "listening")["listening.service"]["message"], "why"
        )
        assert "listening.queue" in findings(healthy, capsys, "--only", "listening")
    finally:
        lock.rmdir()
        until(lambda: "listening.service" not in findings(healthy, capsys, "--only", "listening"), "a queue")
        mail_system.stop()


def test_a_service_that_does_not_answer_is_found(
    healthy: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outside_view, "TIMEOUT_S", 5.0)
    mail_system = MailSystem(Path(healthy))
    try:
        (scheduler,) = (pid for pid, name in mail_system.services().items() if name == "qmail-send")
        os.kill(scheduler, signal.SIGSTOP)
        found = findings(healthy, capsys, "--only", "listening")
        assert found["listening.send"]["message"].endswith("send.sock: no answer in 5 s, so nothing is delivered")
        os.kill(scheduler, signal.SIGCONT)
        assert not findings(healthy, capsys, "--only", "listening")
    finally:
        for pid in mail_system.services():
            os.kill(pid, signal.SIGCONT)
        mail_system.stop()


def test_tls_and_passwords_are_tried_where_they_should_work(
    healthy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checker = tmp_path / "checker"
    checker.write_text("#!/bin/sh\nexit 1\n")
    checker.chmod(0o755)
    Path(healthy, "control/smtpcheckpw").write_text(f"{checker}\n")
    assert run(["--home", healthy, "cert", "make"]) == 0
    mail_system = MailSystem(Path(healthy), TLSREQUIRED="1")
    words = ("--only", "selftest", "--smtp", f"127.0.0.1:{mail_system.port}")
    try:
        assert findings(healthy, capsys, *words) == {}
        checker.write_text("#!/bin/sh\nexit 0\n")
        assert "accepts an invalid password" in findings(healthy, capsys, *words)["selftest.auth"]["message"]
        checker.write_text("#!/bin/sh\nexit 111\n")
        assert "cannot check passwords" in findings(healthy, capsys, *words)["selftest.auth"]["message"]
        mail_system.stop()
        certificate = Path(healthy, "control/servercert.pem")
        certificate.write_bytes(certificate.read_bytes().partition(b"-----BEGIN PRIVATE")[0])
        mail_system.start()
        assert list(findings(healthy, capsys, *words)) == ["selftest.tls"]
        assert run(["--home", healthy, "cert", "make", "--replace"]) == 0
        until(lambda: "selftest.tls" not in findings(healthy, capsys, *words), "TLS")
    finally:
        mail_system.stop()


def test_one_name_that_dns_is_silent_about_hides_no_other(
    healthy: str, zone: Zone, capsys: pytest.CaptureFixture[str]
) -> None:
    zone |= GOOD_ZONE
    assert run(["--home", healthy, "domain", "add", "servfail.example.org"]) == 0
    assert run(["--home", healthy, "domain", "add", "lost.example"]) == 0
    capsys.readouterr()
    run(["--home", healthy, "doctor", "--only", "dns", "--json"])
    found = [(item["id"], item["message"]) for item in json.loads(capsys.readouterr().out)["findings"]]
    assert ("dns.mx", "lost.example: no MX record and no address") in found
    assert [message for name, message in found if name == "dns.unanswered" and "servfail" in message]


def test_a_virtual_domain_whose_mail_all_bounces_is_found(healthy: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(healthy, "control/virtualdomains").write_text("virt.example:sales\n")
    found = findings(healthy, capsys, "--only", "domains")
    assert "virt.example: mail becomes sales-LOCALPART" in found["domains.undeliverable"]["message"]
    Path(healthy, "alias/.qmail-sales-ann").write_text("&joe@elsewhere.example\n")
    assert not findings(healthy, capsys, "--only", "domains"), "one address has a mailbox"
    Path(healthy, "alias/.qmail-sales-ann").rename(f"{healthy}/alias/.qmail-sales-default")
    assert not findings(healthy, capsys, "--only", "domains")


def test_an_alias_whose_mail_waits_is_found_with_the_cause(healthy: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(healthy, "alias/.qmail-sales").write_text("./Maildir/\n")
    found = findings(healthy, capsys, "--only", "aliases")["aliases.deferred"]
    assert found["path"] == f"{healthy}/alias/.qmail-sales"
    assert "Unable to chdir to maildir" in found["message"]
    assert found["hint"] == ["eqmail", "explain", "sales"]


def test_an_account_whose_home_is_open_to_all_is_found(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    home = tmp_path / "joe"
    make_maildir(home / "Maildir")
    entry = pwd.struct_passwd(("joe", "x", os.getuid(), os.getgid(), "", str(home), "/bin/sh"))
    daemon = pwd.struct_passwd(("daemon", "x", 1, 1, "", "/", "/usr/sbin/nologin"))
    user = User(b"joe", os.getuid(), os.getgid(), os.fsencode(home), b"", b"")
    home.chmod(0o755)
    assert look_into_home(user, b"./Maildir/", site.patrn).failure == ""
    home.chmod(0o777)
    assert "home directory is writable" in look_into_home(user, b"./Maildir/", site.patrn).failure
    assert deliverability._people([entry, daemon]) == ([entry] if os.getuid() >= 1000 else [])


def test_a_missing_or_foreign_sendmail_is_found(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    link = tmp_path / "sendmail"
    [missing] = old_programs.check_mailer(site, [str(link)])
    assert missing.command == ("ln", "-sf", f"{site.bin}/sendmail", str(link))
    link.write_text("#!/bin/sh\n")
    [foreign] = old_programs.check_mailer(site, [str(link)])
    assert foreign.severity is Severity.INFO
    link.unlink()
    Path(site.bin).mkdir(parents=True)
    Path(site.bin, "sendmail").touch()
    link.symlink_to(f"{site.bin}/sendmail")
    assert list(old_programs.check_mailer(site, [str(link)])) == []


def test_code_that_was_replaced_while_the_services_run_is_found(
    healthy: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mail_system = MailSystem(Path(healthy))
    try:
        assert not findings(healthy, capsys, "--only", "listening.old-code")
        monkeypatch.setattr(outside_view, "process_start", lambda pid: 1.0)
        assert (
            "code that was replaced"
            in findings(healthy, capsys, "--only", "listening")["listening.old-code"]["message"]
        )
    finally:
        mail_system.stop()


def test_a_monitor_gets_one_line_and_its_own_exit_status(healthy: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--home", healthy, "doctor", "--offline", "--skip", "permissions.unreachable", "--format", "nagios"]
    capsys.readouterr()
    assert run([*words, "--skip", "listening"]) == 0
    assert capsys.readouterr().out == "EQMAIL OK - no problems found | errors=0 warnings=0 notes=0\n"
    assert run(words) == 1
    line = "EQMAIL WARNING - 1 warning: listening.stopped: the services do not run | errors=0 warnings=1 notes=0\n"
    assert capsys.readouterr().out == line
    Path(healthy, "control/rcpthosts").unlink()
    assert run(words) == 2
    assert capsys.readouterr().out.startswith("EQMAIL CRITICAL - ")
    assert run(["--home", f"{healthy}/none", *words[2:]]) == 3
    assert capsys.readouterr().out.startswith("EQMAIL UNKNOWN - ")


def test_every_finding_of_the_source_is_in_the_table_of_names() -> None:
    folder = Path(outside_view.__file__).parent
    text = "".join(path.read_text() for path in folder.glob("*.py")) + f'Finding("{examination.OPEN_KEY}"'
    found = set(re.findall(r'Finding\(\s*"([a-z]+\.[a-z-]+)"', text))
    known = {f"{group}.{name}" for group, names in IDS.items() for name in names}
    assert found <= known
    sockets = {f"listening.{name}" for name in ("queue", "send", "local", "remote", "lookup")}
    assert known - found <= sockets | {"settings.unreadable"}
    assert set(IDS) == set(CHECKS)


def make_site(folder: Path) -> Site:
    """A site for several users below a folder; nothing of it is there."""
    return resolve_build_config(str(folder / "home"), {}, None)


def test_keys_that_sign_are_looked_at(healthy: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", healthy, "dkim", "generate", "a.test"]) == 0
    folder = Path(healthy, "control/dkim/a.test")
    assert list(findings(healthy, capsys, "--only", "dkim")) == []
    rsa, ed25519 = sorted(folder.glob("*.pem"), reverse=True)
    rsa.chmod(0o444)
    ed25519.unlink()
    assert set(findings(healthy, capsys, "--only", "dkim")) == {"dkim.readable", "dkim.missing"}
    states = folder / "states"
    states.write_text(states.read_text().replace("active", "retiring"))
    assert set(findings(healthy, capsys, "--only", "dkim")) == {"dkim.readable", "dkim.none-active"}
    states.write_text("nonsense\n")
    assert set(findings(healthy, capsys, "--only", "dkim")) == {"dkim.states"}


def test_records_of_keys_that_sign_are_looked_for_in_the_dns(
    healthy: str, zone: Zone, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--home", healthy, "dkim", "generate", "a.test"]) == 0
    capsys.readouterr()
    run(["--home", healthy, "doctor", "--json", "--only", "dns"])
    found = json.loads(capsys.readouterr().out)["findings"]
    facts = [item["message"] for item in found if item["id"] == "dns.dkim"]
    assert len(facts) == 2
    assert all("is missing in the DNS" in fact for fact in facts)


def test_lines_of_logins_and_users_that_do_not_exist_are_named(
    healthy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    control = Path(healthy, "control")
    Path(healthy, "users/smtpauth").write_text("joe@x.test:secret\n")
    (control / "senderlogin").write_text("Joe@x.test self\nann@x.test self\n* self\n")
    (control / "submissionlimits").write_text("uid no-such-user-here messages=1/h\nuid root none\n")
    assert (
        "ann@x.test: this login has no password"
        in findings(healthy, capsys, "--only", "senders")["senders.login"]["message"]
    )
    assert "no-such-user-here: no such user" in findings(healthy, capsys, "--only", "limits")["limits.user"]["message"]
