"""Explaining an address: the answer is what the delivery would do, and nothing is done."""

import json
import os
from pathlib import Path

import pytest

from eqmail_core.users.user import User
from eqmail_setup.cli.app import run
from eqmail_setup.errors import ExitCode
from eqmail_setup.installation.as_user import run_as_user
from eqmail_setup.mail.local_delivery import look_into_home
from tests.support.error_text import is_one_error
from tests.support.name_server import Zone


def explained(home: str, address: str, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    capsys.readouterr()
    assert run(["--home", home, "explain", address, "--json", *words]) == 0
    value = json.loads(capsys.readouterr().out)
    assert isinstance(value, dict)
    return value


def test_an_alias_is_followed_to_its_file(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "alias", "add", "first.last", "joe@elsewhere.example", "./copies/"]) == 0
    found = explained(at_home, "First.Last@mail.example.org", capsys)
    assert found["channel"] == "local"
    assert found["accepted"] is True
    assert found["file"] == f"{at_home}/alias/.qmail-first:last"
    assert found["instructions"] == [["forward", "joe@elsewhere.example"], ["maildir", f"{at_home}/alias/copies/"]]


def test_a_blank_default_delivery_is_reported(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(at_home, "control/defaultdelivery").write_text("\n")
    Path(at_home, "alias/.qmail-joe").touch()
    found = explained(at_home, "joe@mail.example.org", capsys)
    assert "first line of .qmail file is blank" in str(found["failure"]) and not found["instructions"]


def test_every_file_that_was_tried_is_named(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(at_home, "alias/.qmail-list-default").write_text("|cat\n")
    found = explained(at_home, "list-a-b@mail.example.org", capsys)
    assert found["tried"] == [
        [".qmail-list-a-b", "missing"],
        [".qmail-list-a-default", "missing"],
        [".qmail-list-default", "found, mode 0644"],
    ]
    assert found["instructions"] == [["program", "cat"]]


def test_a_virtual_domain_and_a_user_of_the_database(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "user", "add", "foo"]) == 0
    assert run(["--home", at_home, "domain", "add", "example.net", "--virtual", "foo+x"]) == 0
    Path(at_home, "users/foo/.qmail-default").write_text("")
    found = explained(at_home, "joe@example.net", capsys, "--delivery", "./Mail/")
    assert found["address"] == "foo+x-joe@example.net"
    assert found["source"] == f"{at_home}/users/cdb"
    assert found["instructions"] == [["maildir", f"{at_home}/users/foo/Mail/"]]
    assert found["file"] == f"{at_home}/users/foo/.qmail-default"


def test_a_foreign_address_takes_its_route_and_no_password_is_shown(
    at_home: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--home", at_home, "config", "set", "smtproutes", ".example:relay:587 user secret"]) == 0
    found = explained(at_home, "joe@far.example", capsys)
    assert found["channel"] == "remote"
    assert found["accepted"] is False
    assert str(found["relay"]).startswith("relay, port 587, with a password")
    assert "secret" not in str(found)
    assert run(["--home", at_home, "explain", "joe@other.test"]) == 0
    assert "mail exchangers (MX) of other.test" in capsys.readouterr().out


def test_each_mail_exchanger_is_named_with_its_tls(
    at_home: str, zone: Zone, capsys: pytest.CaptureFixture[str]
) -> None:
    zone[("far.example", "MX")] = ["10 a.far.example.", "20 b.far.example.", "30 c.far.example."]
    demanding, forbidding = Path(at_home, "control/tlshosts"), Path(at_home, "control/notlshosts")
    for path in (demanding / "a.far.example.pem", forbidding / "b.far.example"):
        path.parent.mkdir()
        path.touch()
    found = explained(at_home, "joe@far.example", capsys, "--dns")
    assert found["exchangers"] == ["10 a.far.example", "20 b.far.example", "30 c.far.example"]
    assert found["tls"] == {
        "a.far.example": f"TLS required, certificate verified against {demanding}/a.far.example.pem",
        "b.far.example": "never by TLS",
        "c.far.example": "by TLS where it is offered",
    }
    zone[("null.example", "MX")] = ["0 ."]
    assert explained(at_home, "joe@null.example", capsys, "--dns")["tls"] == {}
    zone[("none.example", "A")] = ["192.0.2.1"]
    assert run(["--home", at_home, "explain", "joe@none.example", "--dns"]) == 0
    assert "no MX record: the address of none.example is used" in capsys.readouterr().out


def test_a_relay_is_named_with_its_tls(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "config", "set", "smtproutes", "far.example:relay.example:465"]) == 0
    assert explained(at_home, "joe@far.example", capsys)["tls"] == {"relay.example": "by TLS from the beginning"}


def test_an_address_in_brackets_is_the_host_itself(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert explained(at_home, "joe@[192.0.2.1]", capsys)["relay"] == "the host [192.0.2.1] itself"


@pytest.mark.parametrize(
    ("prepare", "trouble"),
    [
        ("", "Sorry, no mailbox here by that name. (#5.1.1)"),
        ("echo > .qmail-ghost", "Uh-oh: first line of .qmail file is blank. (#4.2.1)"),
        ("echo joe@x > .qmail-ghost; chmod 666 .qmail-ghost", "Uh-oh: .qmail file is writable. (#4.7.0)"),
        ("chmod 1755 .", "Home directory is sticky: user is editing his .qmail file. (#4.2.1)"),
        ("chmod 777 .", "Uh-oh: home directory is writable. (#4.7.0)"),
    ],
)
def test_the_reason_a_delivery_would_fail_is_shown(
    at_home: str, prepare: str, trouble: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.system(f"cd {at_home}/alias && {prepare or 'true'}")
    assert explained(at_home, "ghost@mail.example.org", capsys)["failure"] == trouble


def test_a_damaged_database_is_reported(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(at_home, "users/cdb").write_bytes(b"no database")
    assert "eqmail user compile" in str(explained(at_home, "joe", capsys)["failure"])


@pytest.mark.parametrize("address", ["", "a\nb"])
def test_a_missing_address_is_a_usage_error(at_home: str, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["--home", at_home, "explain", address]) == ExitCode.USAGE
    assert is_one_error(capsys.readouterr().err)


@pytest.mark.parametrize(
    "address", ["@", "x@", "@mail.example.org", "a" * 3000, "a/../../b", "é@ü", "a@b@mail.example.org"]
)
def test_any_address_is_explained(at_home: str, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "explain", address]) == 0


def said(home: str, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, str]:
    """The fields of the answer for people, each with its first line."""
    capsys.readouterr()
    assert run(["--home", home, "explain", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {line[:10].strip(): line[11:] for line in lines if line[:10].strip()}


def test_a_recipient_that_the_server_refuses_is_not_called_accepted(
    at_home: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(at_home, "control/rcptcheck").write_text("*\n")
    fields = said(at_home, capsys, "nobodyhere@mail.example.org")
    assert fields["SMTP"] == "rejected: 550 sorry, no mailbox here by that name (#5.1.1) (rcptcheck)"
    assert fields["Result"] == "undeliverable: Sorry, no mailbox here by that name. (#5.1.1)"
    assert said(at_home, capsys, "joe@far.example")["SMTP"].endswith("(#5.7.1) (rcpthosts)")


def test_the_client_decides_the_reply_of_the_server(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(at_home, "control/relayclients").write_text("192.0.2.0/24\n")
    Path(at_home, "control/badmailfrom").write_text("@spam.example\n")
    assert said(at_home, capsys, "joe@far.example", "--client", "192.0.2.7")["SMTP"].startswith("accepted: 250")
    assert said(at_home, capsys, "joe@far.example", "--client", "192.0.3.7")["SMTP"].startswith("rejected: 553")
    assert said(at_home, capsys, "joe@mail.example.org", "--sender", "x@spam.example")["SMTP"].endswith("(badmailfrom)")
    assert said(at_home, capsys, "joe@far.example", "--port", "587")["SMTP"].startswith("rejected: 530")
    assert said(at_home, capsys, "joe@far.example", "--login", "joe")["SMTP"].startswith("rejected: 503 auth not")
    Path(at_home, "control/smtpcheckpw").write_text("/bin/false\n")
    assert said(at_home, capsys, "joe@far.example", "--login", "joe", "--port", "587")["SMTP"].startswith("accepted")


def test_what_was_not_asked_is_named(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(at_home, "control/dnsbl").write_text("list.example\n")
    found = explained(at_home, "joe@mail.example.org", capsys)
    smtp = found["smtp"]
    assert isinstance(smtp, dict)
    assert smtp["left_out"] == ["lists in the DNS (dnsbl)"]


def test_a_missing_domain_is_reported(at_home: str, zone: Zone, capsys: pytest.CaptureFixture[str]) -> None:
    fields = said(at_home, capsys, "joe@nxdomain.example", "--dns")
    assert fields["MX"] == "the domain nxdomain.example does not exist"
    assert fields["Result"] == "undeliverable: the domain does not exist"


def test_a_maildir_is_shown_with_its_path_and_missed(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(at_home, "alias/.qmail-ann").write_text("./Maildir/\n")
    fields = said(at_home, capsys, "ann@mail.example.org")
    assert fields["Delivery"] == f"Maildir {at_home}/alias/Maildir/"
    assert fields["Result"] == "deferred: Unable to chdir to maildir. (#4.2.1)"
    for name in ("", "/tmp", "/new", "/cur"):
        Path(f"{at_home}/alias/Maildir{name}").mkdir()
    assert said(at_home, capsys, "ann@mail.example.org")["Result"] == "delivered"


def test_a_suspended_domain_is_reported_as_waiting(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(at_home, "control/suspendeddomains").write_text(
        "far.example:2100-01-01T00:00:00Z\nold.example:2000-01-01T00:00:00Z\n"
    )
    assert "suspended until 2100-01-01T00:00:00Z" in said(at_home, capsys, "joe@far.example")["Result"]
    assert said(at_home, capsys, "joe@old.example")["Result"].startswith("sent to the next server")


@pytest.mark.root
def test_a_caller_without_read_permission_gets_an_error(at_home: str) -> None:
    Path(at_home, "alias/.qmail-ann").write_text("./Maildir/\n")
    os.chmod(f"{at_home}/alias", 0o700)
    user = User(b"alias", 12345, 12345, os.fsencode(f"{at_home}/alias"), b"-", b"ann")
    text = run_as_user(65534, 65534, lambda: look_into_home(user, b"./Mailbox", 0o002).cannot_look.encode())
    assert text.startswith(b"cannot look into ")
    assert text.endswith(b"; run as root")


def test_the_sender_and_the_limits_of_a_login_are_explained(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    control = Path(at_home, "control")
    (control / "smtpcheckpw").write_text("/bin/true\n")
    (control / "senderlogin").write_text("* self\n")
    (control / "submissionlimits").write_text("login * messages=5/h\naddress * recipients=9/d refuse\n")
    words = ("ann@elsewhere.example", capsys, "--login", "joe@x.test", "--port", "587", "--sender")
    refused = explained(at_home, *words, "boss@x.test")["smtp"]
    assert isinstance(refused, dict)
    assert refused["setting"] == "senderlogin" and "553" in str(refused["reply"])
    found = explained(at_home, *words, "joe@x.test")
    assert found["accepted"] is True
    assert found["limits"] == [
        "login joe@x.test: messages=5/h, held beyond it",
        "address 198.51.100.77: recipients=9/d, refused beyond it",
    ]
    assert explained(at_home, "ann@mail.example.org", capsys)["limits"] == []
