"""`eqmail mailbox`, `eqmail auth`, `eqmail dns`: what they write and say."""

import io
import json
import sys
from pathlib import Path

import pytest

from eqmail_setup.cli.app import run
from eqmail_setup.mail import dns_zone
from tests.support.name_server import Zone


@pytest.fixture(autouse=True)
def unreachable_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """No record depends on the addresses of the machine."""
    monkeypatch.setattr(dns_zone, "public_address", lambda family: "")


def answered(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_a_mailbox_from_password_to_removal(
    at_home: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mailbox = ["--home", at_home, "mailbox"]
    answered(monkeypatch, "secret\n")
    assert run([*mailbox, "add", "ann@example.net", "--stdin", "--quota", "5G"]) == 0
    assert run([*mailbox, "forward", "ann@example.net", "x@y.example", "--keep"]) == 0
    capsys.readouterr()
    assert run([*mailbox, "list"]) == 0
    header, line, total = capsys.readouterr().out.splitlines()
    assert header.split() == ["ADDRESS", "LOGIN", "USED", "QUOTA", "FORWARDS", "TO", "MAILDIR"]
    assert line.split()[:7] == ["ann@example.net", "yes", "0", "B", "5", "GB", "x@y.example"]
    assert total == "1 mailbox"
    for password, code in (("secret\n", 0), ("wrong\n", 1)):
        answered(monkeypatch, password)
        assert run(["--home", at_home, "auth", "test", "ann@example.net", "--stdin"]) == code
    answered(monkeypatch, "other\n")
    assert run([*mailbox, "passwd", "ann@example.net", "--stdin"]) == 0
    answered(monkeypatch, "other\n")
    assert run(["--home", at_home, "auth", "test", "ann@example.net", "--stdin"]) == 0
    assert run([*mailbox, "remove", "ann@example.net"]) == 0
    capsys.readouterr()
    assert run(["--home", at_home, "auth", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema": "eqmail/credentials-1", "credentials": []}


def test_a_mailbox_is_one_transaction(at_home: str) -> None:
    control = Path(at_home, "control")
    before = (control / "rcpthosts").read_bytes()
    assert run(["--home", at_home, "mailbox", "add", "ann@example.net"]) == 0
    assert (control / "virtualdomains").exists()
    assert run(["--home", at_home, "rollback", "--yes"]) == 0
    assert (control / "rcpthosts").read_bytes() == before
    assert not (control / "virtualdomains").exists()
    assert not Path(at_home, "users/example.net").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["mailbox", "quota", "ann@example.net", "1x"], 2, "not a size such as 500M or 5G"),
        (["mailbox", "quota", "ann@example.net", "1G"], 3, "ann@example.net: no such mailbox"),
        (["mailbox", "add", "ann"], 2, "not an address"),
        (["mailbox", "forward", "ann@example.net"], 2, "give addresses, or --off"),
        (["mailbox", "add", "ann@example.net", "--password"], 2, "no terminal to ask for a password"),
        (["mailbox", "add", "ann@example.net", "--stdin", "--hash", "x"], 2, "exclude each other"),
        (["auth", "remove", "joe"], 3, "login joe: not found"),
        (["dns", "records", "a_b..c"], 2, "is not a host name"),
    ],
)
def test_bad_input_is_named(
    at_home: str,
    words: list[str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answered(monkeypatch, "")
    assert run(["--home", at_home, *words]) == code
    assert said in capsys.readouterr().err


def test_a_login_without_a_checker_is_noted(
    at_home: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answered(monkeypatch, "secret\n")
    assert run(["--home", at_home, "auth", "set", "joe", "--stdin"]) == 0
    said = capsys.readouterr().err
    assert "smtpcheckpw is not set" in said and f"config set smtpcheckpw '{at_home}/bin/qmail-chkpw true'" in said


def test_records_as_json_and_zone(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["--home", at_home, "dns", "records", "example.net", "--format", "json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["schema"], value["domain"], value["host"]) == (
        "eqmail/dns-records-1",
        "example.net",
        "mail.example.org",
    )
    assert run(["--home", at_home, "dns", "records", "example.net"]) == 0
    assert "example.net. IN MX 10 mail.example.org.\n" in capsys.readouterr().out


def test_what_is_published_is_checked(at_home: str, zone: Zone, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["--home", at_home, "dns", "check", "example.net", "--json"]) == 1
    states = {it["kind"]: it["state"] for it in json.loads(capsys.readouterr().out)["records"]}
    assert states["MX"] == "missing"
    zone["example.net", "MX"] = ["10 mail.example.org."]
    assert run(["--home", at_home, "dns", "check", "example.net"]) == 0
    assert "ok" in capsys.readouterr().out


def test_the_history_has_the_whole_command(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "mailbox", "add", "ann@example.net", "--quota", "5G"]) == 0
    assert run(["--home", at_home, "mailbox", "quota", "ann@example.net", "0"]) == 0
    capsys.readouterr()
    assert run(["--home", at_home, "history", "--limit", "1"]) == 0
    assert "eqmail mailbox quota ann@example.net 0\n" in capsys.readouterr().out
