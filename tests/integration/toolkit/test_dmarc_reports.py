"""Reports of DMARC from the received message to the queued report, and what happens when one comes back."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eqmail_core.dns import resolver
from eqmail_core.dns.resolver import BlockingResolver
from eqmail_core.reports import DMARC_DATABASE
from eqmail_core.reports.store import DAY_S, ReportStore
from eqmail_setup.cli.app import run
from eqmail_setup.errors import ExitCode
from eqmail_setup.mail.dmarc_reports import BOUNCES, GIVE_UP_S, ReportSender, SentReport, open_store, plan_off, plan_on
from eqmail_setup.mail.received_reports import read_reports
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
from eqmail_setup.transaction.plan import apply_changes
from tests.support.filtered_servers import KINDS, open_conversation
from tests.support.name_server import NameServer, Zone
from tests.support.smtp_servers import Home

ZONE: Zone = {
    ("a.test", "TXT"): ['"v=spf1 ip4:127.0.0.1 -all"'],
    ("_dmarc.a.test", "TXT"): ['"v=DMARC1; p=reject; rua=mailto:d@a.test,mailto:d@no.test,mailto:tiny@a.test!10"'],
    ("bad.test", "TXT"): ['"v=spf1 ip4:192.0.2.1 -all"'],
    ("_dmarc.bad.test", "TXT"): ['"v=DMARC1; p=none; rua=mailto:d@servfail.test"'],
}


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    with NameServer(ZONE) as running:
        blocking = resolver.BlockingResolver
        monkeypatch.setattr(
            resolver, "BlockingResolver", lambda timeout_s: blocking(["127.0.0.1"], running.port, timeout_s)
        )
        yield running


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    made = Home(tmp_path / "home", authcheck="mark\n")
    (tmp_path / "home/alias").mkdir()
    filesystem = DiskFilesystem(made.site.home)
    apply_changes(plan_on(made.site, filesystem, "dmarc@mx.test"), filesystem, lambda _: None)
    monkeypatch.setenv("QMAILQUEUE", f"{made.site.home}/bin/qmail-queue")
    return made


def receive(kind: str, home: Home, names: NameServer, *senders: bytes) -> None:
    with open_conversation(kind, home) as client:
        if client.server is not None:
            client.server.settings.name_servers = (["127.0.0.1"], names.port)
        client.command(b"EHLO me.test")
        for sender in senders:
            assert client.command(b"MAIL FROM:<%b>" % sender).startswith(b"250")
            assert client.command(b"RCPT TO:<j@ours.test>").startswith(b"250")
            assert client.command(b"DATA").startswith(b"354")
            assert client.command(b"From: <%b>\r\n\r\nbody\r\n." % sender).startswith(b"250")


def send(home: Home, names: NameServer, after_s: float = DAY_S) -> list[SentReport]:
    store = open_store(home.site)
    assert store is not None
    answers = BlockingResolver(["127.0.0.1"], names.port, 2.0)
    return list(ReportSender(home.site, store, answers, lambda: time.time() + after_s).send_due())


@pytest.mark.parametrize("kind", KINDS)
def test_messages_are_counted_and_reported_once_the_day_is_over(home: Home, names: NameServer, kind: str) -> None:
    receive(kind, home, names, b"joe@a.test", b"jim@a.test", b"joe@a.test")
    got = len(home.queued())
    assert send(home, names, 0) == []
    found = send(home, names)
    assert [(it.domain, it.address, it.result.split(":")[0].split(" ")[0]) for it in found] == [
        ("a.test", "d@a.test", "sent"),
        ("a.test", "d@no.test", "no.test"),
        ("a.test", "tiny@a.test", "longer"),
    ]
    ((envelope, message),) = home.queued()[got:]
    assert re.fullmatch(rb"Fdmarc-reports-[0-9a-f]{20}@mx\.test\0Td@a\.test\0\0", envelope)
    assert b"\nSubject: Report Domain: a.test Submitter: mx.test Report-ID: <" in message
    assert b"\nContent-Type: application/gzip\n" in message and b"\r" not in message
    (report,) = read_reports(message)
    assert (report.reporter, report.domain, report.policy) == ("mx.test", "a.test", "reject")
    assert [(row.messages, row.disposition, row.spf) for row in report.rows] == [(3, "pass", "pass")]
    assert send(home, names) == []


def test_a_report_waits_for_the_queue(home: Home, names: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    receive(KINDS[0], home, names, b"joe@a.test")
    monkeypatch.setenv("QMAILQUEUE", "/nonexistent/queue")
    assert any(it.result.startswith("waits:") for it in send(home, names))
    monkeypatch.setenv("QMAILQUEUE", f"{home.site.home}/bin/qmail-queue")
    assert any(it.result == "sent" for it in send(home, names))


def test_a_report_does_not_wait_for_ever(home: Home, names: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    receive(KINDS[0], home, names, b"joe@a.test")
    monkeypatch.setenv("QMAILQUEUE", "/nonexistent/queue")
    assert send(home, names, DAY_S + GIVE_UP_S)
    assert send(home, names, DAY_S + GIVE_UP_S) == []


def test_an_address_from_which_a_report_comes_back_gets_none_for_a_month(home: Home, names: NameServer) -> None:
    receive(KINDS[0], home, names, b"joe@a.test")
    send(home, names)
    sender = home.queued()[-1][0].split(b"\0")[0][1:]
    folder = Path(home.site.alias) / BOUNCES / "new"
    (folder / "1").write_bytes(b"Return-Path: <>\nDelivered-To: alias-%b\nSubject: failure notice\n\nsorry\n" % sender)
    (folder / "2").write_bytes(b"Delivered-To: %b-%b@mx.test\n\nforged\n" % (BOUNCES.encode(), b"0" * 20))
    os.symlink("/etc/passwd", folder / "3")
    receive(KINDS[0], home, names, b"joe@a.test")
    found = {it.address: it.result for it in send(home, names)}
    assert found["d@a.test"].startswith("nothing until") and not os.listdir(folder)
    receive(KINDS[0], home, names, b"joe@a.test")
    assert {it.address: it.result for it in send(home, names, 40 * DAY_S)}["d@a.test"] == "sent"


def test_commands(at_home: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--home", at_home, "dmarc", "reports"]
    assert run([*at, "list"]) == ExitCode.OK
    assert "nothing is counted" in capsys.readouterr().out
    assert run([*at, "on", "--from", "no address"]) == ExitCode.USAGE
    assert run([*at, "on", "--from", "d@mail.example.org"]) == ExitCode.OK
    said = capsys.readouterr().err
    assert "not checked" in said and "not signed" in said and "once a day" in said
    assert (Path(at_home) / "control/dmarcreports").read_text() == "d@mail.example.org\n"
    store = ReportStore(f"{at_home}/{DMARC_DATABASE}")
    store.count(time.time(), "a.test", '{"rua":[]}', "{}")
    store.close()
    assert run([*at, "list"]) == ExitCode.OK
    assert "a.test" in capsys.readouterr().out
    assert run([*at, "send"]) == ExitCode.OK
    assert "no report is due" in capsys.readouterr().out
    (tmp_path / "report").write_bytes(b"<feedback>")
    assert run([*at, "show", str(tmp_path / "report")]) == ExitCode.PROBLEMS
    assert "cannot be read" in capsys.readouterr().err
    assert run([*at, "off"]) == ExitCode.OK
    assert not (Path(at_home) / "control/dmarcreports").exists()


def test_after_off_nothing_is_counted(home: Home, names: NameServer) -> None:
    filesystem = DiskFilesystem(home.site.home)
    apply_changes(plan_off(home.site, filesystem), filesystem, lambda _: None)
    receive(KINDS[0], home, names, b"joe@a.test")
    assert open_store(home.site) is None


def test_other_readers_of_xml_accept_the_report(home: Home, names: NameServer, tmp_path: Path) -> None:
    import gzip
    from email import message_from_bytes

    receive(KINDS[0], home, names, b"joe@a.test")
    send(home, names)
    (part,) = [it for it in message_from_bytes(home.queued()[-1][1]).walk() if it.get_filename()]
    packed = part.get_payload(decode=True)
    assert isinstance(packed, bytes)
    assert re.fullmatch(r"mx\.test!a\.test!\d+!\d+!\w+\.xml\.gz", part.get_filename() or "")
    (tmp_path / "report.xml").write_bytes(gzip.decompress(packed))
    schema = Path(__file__).parents[2] / "data/mail_auth/dmarc-report.xsd"
    assert shutil.which("xmllint"), "libxml2-utils is missing"
    command = ["xmllint", "--noout", "--nonet", "--schema", str(schema), str(tmp_path / "report.xml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
