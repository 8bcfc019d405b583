"""Domains: what is delivered here is accepted, what is accepted knows where to go, and other lines stay."""

import fcntl
import json
import os
import signal
from pathlib import Path

import pytest

from eqmail_core.access.rcpthosts_database import lists_domain
from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_site
from eqmail_core.users.user import User
from eqmail_setup.cli.app import run
from eqmail_setup.errors import ExitCode
from eqmail_setup.installation.build_config import load_site
from eqmail_setup.mail import virtual_domains
from eqmail_setup.mail.routing import route_address
from eqmail_setup.settings.reload import running_pid
from tests.support.error_text import is_one_error


def control(home: str, name: str) -> str:
    path = Path(home, "control", name)
    return path.read_text() if path.exists() else "(absent)"


def test_a_local_domain_is_delivered_and_accepted(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(at_home, "control/locals").write_text("# mine\nmail.example.org")
    assert run(["--home", at_home, "domain", "add", "Example.NET"]) == 0
    assert control(at_home, "locals") == "# mine\nmail.example.org\nexample.net\n"
    assert control(at_home, "rcpthosts") == "mail.example.org\nexample.net\n"
    assert "required" not in capsys.readouterr().out  # nothing runs
    assert run(["--home", at_home, "check"]) == 0


def test_a_virtual_domain_belongs_to_a_user(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "domain", "add", "example.net", "--virtual", "joe"]) == 0
    assert control(at_home, "virtualdomains") == "example.net:joe\n"
    capsys.readouterr()
    assert run(["--home", at_home, "domain", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["domains"][0] == {
        "name": "example.net",
        "kind": "virtual",
        "prefix": "joe",
        "accepted": True,
    }


def test_a_domain_is_delivered_one_way_only(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "domain", "add", "example.net"]) == 0
    assert run(["--home", at_home, "domain", "add", "example.net", "--virtual", "joe"]) == ExitCode.FAILED
    assert "is local; --replace makes it virtual" in capsys.readouterr().err
    assert run(["--home", at_home, "domain", "add", "example.net", "--virtual", "joe", "--replace"]) == 0
    assert control(at_home, "locals") == "mail.example.org\n"
    assert run(["--home", at_home, "domain", "add", "example.net"]) == ExitCode.FAILED
    assert "belongs to joe" in capsys.readouterr().err
    assert run(["--home", at_home, "domain", "add", "example.net", "--replace"]) == 0
    assert control(at_home, "virtualdomains") == ""


def test_without_locals_the_host_itself_stays_local(at_home: str) -> None:
    Path(at_home, "control/locals").unlink()
    assert run(["--home", at_home, "domain", "add", "example.net"]) == 0
    assert control(at_home, "locals") == "mail.example.org\nexample.net\n"


def test_without_rcpthosts_everything_delivered_here_is_accepted_and_nothing_else(at_home: str) -> None:
    Path(at_home, "control/rcpthosts").unlink()
    assert run(["--home", at_home, "domain", "add", "example.net"]) == 0
    assert control(at_home, "rcpthosts") == "mail.example.org\nexample.net\n"


def test_the_database_of_domains_is_kept_up_to_date(at_home: str) -> None:
    database = f"{at_home}/control/morercpthosts.cdb"
    assert run(["--home", at_home, "domain", "add", "many.example", "--many"]) == 0
    assert control(at_home, "rcpthosts") == "mail.example.org\n"
    assert lists_domain(database, b"many.example")
    assert run(["--home", at_home, "domain", "remove", "many.example"]) == 0
    assert not lists_domain(database, b"many.example")
    assert run(["--home", at_home, "domain", "remove", "many.example"]) == ExitCode.FAILED, "not found"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["add", "exa mple"], ExitCode.USAGE, "is not a domain"),
        (["add", "*.example.com"], ExitCode.USAGE, "is not a domain"),
        (["add", "*.example.com", "--virtual", "joe"], ExitCode.USAGE, "is not a domain"),
        (["add", "a@b.example"], ExitCode.USAGE, "is not a domain"),
        (["add", "müller.example"], ExitCode.USAGE, "give its ASCII form xn--mller-kva.example"),
        (["add", ".example.org"], ExitCode.USAGE, ".DOMAIN is for virtual domains only"),
        (["add", "x.example", "--virtual", "a:b"], ExitCode.USAGE, "give the name of the user"),
        (["add", "x.example", "--virtual", ""], ExitCode.USAGE, "give the name of the user"),
        (["remove", "mail.example.org"], ExitCode.FAILED, "because"),
    ],
)
def test_a_mistake_is_one_line(
    at_home: str, words: list[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(at_home, "control/locals").unlink()
    capsys.readouterr()
    assert run(["--home", at_home, "domain", *words]) == code
    output = capsys.readouterr().err
    assert sentence in output
    assert is_one_error(output)


def test_reload_reports_when_nothing_runs(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "domain", "add", "example.net", "--reload"]) == 0
    assert "Services are not running" in capsys.readouterr().out


def test_the_service_manager_is_found_by_the_kernel_and_not_by_a_file(at_home: str) -> None:
    path = Path(at_home, "run/start.lock")
    path.write_text("1\n")
    assert running_pid(read_site({b"EQMAIL_HOME": at_home.encode()})) == 0
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        fcntl.lockf(os.open(path, os.O_RDWR), fcntl.LOCK_EX)
        os.write(writing, b"x")
        while True:
            signal.pause()
    try:
        os.read(reading, 1)
        assert running_pid(read_site({b"EQMAIL_HOME": at_home.encode()})) == pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reading)
        os.close(writing)


def test_a_virtual_domain_of_a_user_whom_its_mail_would_not_reach_is_refused(
    at_home: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = os.fsencode(f"{at_home}/alias")
    joe = User(b"joe", os.getuid(), os.getgid(), os.fsencode(at_home), b"", b"")

    def find_owner(site: Site, local: bytes) -> tuple[str, User]:
        """The accounts of a host where extensions follow a plus sign."""
        return "accounts", joe if local == b"joe" else User(b"alias", os.getuid(), os.getgid(), folder, b"-", local)

    monkeypatch.setattr(virtual_domains, "find_owner", find_owner)
    add = ["--home", at_home, "domain", "add", "example.net", "--virtual", "joe"]
    capsys.readouterr()
    assert run(add) == ExitCode.FAILED
    captured = capsys.readouterr().err
    assert "mail for the domain becomes joe-LOCALPART, which user joe does not receive" in captured
    assert "user add joe" in captured
    assert b"example.net" not in (Path(at_home) / "control/rcpthosts").read_bytes()
    (Path(at_home) / "alias/.qmail-joe-default").write_text("&kim@elsewhere.example\n")
    assert run(add) == 0


def test_a_catch_all_gets_what_no_mailbox_gets(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    add = ["--home", at_home, "domain", "add", "example.net"]
    assert run(["--home", at_home, "alias", "add", "joe", "joe@far.example"]) == 0
    assert run([*add, "--catch-all", "joe"]) == 0
    assert run(["--home", at_home, "mailbox", "add", "ann@example.net"]) == 0
    site = load_site(at_home)
    assert site is not None
    assert route_address(site, b"anybody@example.net").instructions == (("forward", "joe"),)
    assert route_address(site, b"ann@example.net").instructions[0][0] == "maildir"
    capsys.readouterr()
    assert run([*add, "--catch-all", "joe"]) == 0
    assert "No changes needed." in capsys.readouterr().out
    assert run([*add, "--catch-all", "ann@example.net"]) == ExitCode.FAILED
    assert "--replace" in capsys.readouterr().err
    assert run([*add, "--catch-all", "ann@example.net", "--replace"]) == 0
    assert route_address(site, b"anybody@example.net").instructions == (("forward", "ann@example.net"),)


@pytest.mark.parametrize(
    ("domain", "words", "code", "said"),
    [
        ("example.net", ["--catch-all", "zoe"], ExitCode.FAILED, "unknown local recipient"),
        ("example.net", ["--catch-all", "zoe@example.net"], ExitCode.FAILED, "has no mailbox"),
        ("example.net", ["--catch-all", "./Maildir/"], ExitCode.USAGE, "give an address"),
        ("example.net", ["--catch-all", "a@b.example,c@d.example"], ExitCode.USAGE, "not an address"),
        ("example.net", ["--catch-all", "x@far.example", "--virtual", "joe"], ExitCode.USAGE, "excludes"),
        ("mail.example.org", ["--catch-all", "x@far.example"], ExitCode.FAILED, "is a local domain"),
    ],
)
def test_a_catch_all_that_would_not_deliver_is_refused(
    domain: str, words: list[str], code: int, said: str, at_home: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = control(at_home, "virtualdomains")
    assert run(["--home", at_home, "domain", "add", domain, *words]) == code
    assert said in capsys.readouterr().err
    assert control(at_home, "virtualdomains") == before
