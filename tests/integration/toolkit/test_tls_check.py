"""`eqmail tls check`: level and reason for each server of a domain."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eqmail_core.dns.resolver import BlockingResolver
from eqmail_core.dns.validation import ValidationTrust
from eqmail_setup.cli.app import run
from eqmail_setup.errors import ExitCode
from eqmail_setup.mail import tls_check
from tests.support.name_server import NameServer, Zone

RECORD = "3 1 1 " + "00" * 32
ZONE: Zone = {
    ("one.test", "MX"): ["10 a.test.", "20 b.test.", "30 c.test.", "40 d.test.", "50 e.test."],
    **{(f"{name}.test", "A"): ["192.0.2.1", "192.0.2.2"] for name in "abcde"},
    ("_25._tcp.a.test", "TLSA"): [RECORD],
    ("_25._tcp.b.test", "TLSA"): ["1 1 1 " + "00" * 32],
    ("_25._tcp.c.test", "TLSA"): [RECORD],
    ("two.test", "MX"): ["10 f.test."],
    ("f.test", "A"): ["192.0.2.1"],
    ("null.test", "MX"): ["0 ."],
    ("relay.test", "A"): ["192.0.2.9"],
    ("_587._tcp.relay.test", "TLSA"): [RECORD],
}

Check = Callable[..., int]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Check]:
    home = tmp_path / "home"
    assert run(["--home", str(home), "setup", "--single-user"]) == ExitCode.OK
    (home / "control/me").write_text("me.test\n")
    (home / "control/tlshosts").mkdir(exist_ok=True)
    (home / "control/tlshosts/e.test.pem").touch()
    with NameServer(dict(ZONE)) as names:
        names.signed = {"one.test", "relay.test", "_587._tcp.relay.test", "two.test", "f.test"}
        names.signed |= {f"{it}.test" for it in "abd"} | {f"_25._tcp.{it}.test" for it in "abd"}
        names.failing = {"_25._tcp.f.test"}

        def resolver_for(trust: ValidationTrust) -> BlockingResolver:
            return BlockingResolver(["127.0.0.1"], names.port, 10.0, trust)

        monkeypatch.setattr(tls_check, "resolver_for", resolver_for)
        # Whatever addresses this machine has.
        monkeypatch.setattr(tls_check, "own_addresses", lambda: frozenset({"127.0.0.1"}))

        def checked(*words: str, **controls: str) -> int:
            for name, text in controls.items():
                (home / "control" / name).write_text(text + "\n")
            return run(["--home", str(home), "tls", "check", *words])

        yield checked


def test_each_server_has_a_level_and_a_reason(check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert check("One.test", "--json") == ExitCode.OK
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["domain"]) == ("eqmail/tls-check-1", "one.test")
    assert [(it["name"], it["port"], it["level"], it["why"]) for it in found["servers"]] == [
        ("a.test", 25, "dane", "TLSA records of a.test"),
        ("b.test", 25, "encrypted", "TLSA records of b.test, none usable"),
        ("c.test", 25, "opportunistic", "DNSSEC does not prove its address"),
        ("d.test", 25, "opportunistic", "no TLSA records"),
        ("e.test", 25, "authorities", "control/tlshosts/e.test.pem"),
    ]
    assert check("one.test") == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["SERVER", "PORT", "LEVEL", "WHY"]
    assert len(lines) == 6


def test_settings_count(check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert check("one.test", dnssec="off") == ExitCode.OK
    assert capsys.readouterr().out.count("control/dnssec trusts no name server") == 4
    assert check("one.test", dnssec="127.0.0.1", smtproutes=":relay.test:587") == ExitCode.OK
    assert capsys.readouterr().out.splitlines()[1].split(maxsplit=3) == [
        "relay.test",
        "587",
        "dane",
        "TLSA records of relay.test",
    ]


def test_a_domain_that_gets_no_mail_now_is_a_problem(check: Check, capsys: pytest.CaptureFixture[str]) -> None:
    assert check("two.test") == ExitCode.PROBLEMS
    assert "deferred  its TLSA records cannot be looked up" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("domain", "code", "said"),
    [
        ("null.test", ExitCode.FAILED, "null.test: Sorry, null.test does not accept mail. (#5.1.10)"),
        ("missing.test", ExitCode.FAILED, "missing.test: Sorry, I couldn't find any host named missing.test. (#5.1.2)"),
        ("servfail.test", ExitCode.FAILED, "servfail.test: "),
        ("not a name", ExitCode.USAGE, "not a name"),
    ],
)
def test_what_cannot_be_checked_is_said(
    check: Check, domain: str, code: ExitCode, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(domain) == code
    assert said in capsys.readouterr().err


def test_a_name_server_that_is_none_is_refused(at_home: str) -> None:
    assert run(["--home", at_home, "config", "set", "dnssec", "validates"]) != ExitCode.OK
    for value in ("off", "loopback", "2001:db8::53"):
        assert run(["--home", at_home, "config", "set", "dnssec", value]) == ExitCode.OK
