"""config: the first settings from DNS, and a clear error where DNS has no answer."""

import os
import socket
from pathlib import Path

import pytest

from eqmail_setup.legacy import config
from eqmail_setup.transaction.history import History
from tests.support.name_server import Zone

ZONE = {
    ("box", "CNAME"): ["Mail.Example.org."],
    ("mail.example.org", "A"): ["192.0.2.1"],
    ("mail.example.org", "AAAA"): ["2001:db8::1"],
    ("1.2.0.192.in-addr.arpa", "PTR"): ["mail.example.org."],
    ("1.0.0.127.in-addr.arpa", "PTR"): ["localhost."],
    ("9.2.0.192.in-addr.arpa", "PTR"): ["Shop.Example.NET."],
}


@pytest.fixture(autouse=True)
def box(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    """This host is called box, and has a few addresses."""
    zone |= ZONE
    monkeypatch.setattr(socket, "gethostname", lambda: "BOX")
    monkeypatch.setattr(config, "own_addresses", lambda: {"127.0.0.1", "192.0.2.9", "0.0.0.0", "fe80::1", "192.0.2.7"})


def configure(home: Path) -> int:
    home.mkdir(exist_ok=True)
    return config.main([b"config"], {b"EQMAIL_HOME": os.fsencode(home)})


def setting(home: Path, name: str) -> str:
    return (home / "control" / name).read_text()


def test_names_come_from_the_dns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert configure(tmp_path) == 0
    assert setting(tmp_path, "me") == "mail.example.org\n"
    assert setting(tmp_path, "defaultdomain") == setting(tmp_path, "plusdomain") == "example.org\n"
    assert setting(tmp_path, "locals") == "localhost\nmail.example.org\nshop.example.net\n"
    assert setting(tmp_path, "rcpthosts") == setting(tmp_path, "locals")
    assert (tmp_path / "control/smtpplugins").exists()
    output = capsys.readouterr().out.splitlines()
    assert output[:5] == [
        "Your hostname is box.",
        "Your host's fully qualified name in DNS is mail.example.org.",
        "Putting mail.example.org into control/me...",
        "Putting example.org into control/defaultdomain...",
        "Putting example.org into control/plusdomain...",
    ]
    assert output[6:12] == [
        "Checking local IP addresses:",
        "127.0.0.1: Adding localhost to control/locals...",
        "192.0.2.1: Adding mail.example.org to control/locals...",
        "192.0.2.7: PTR lookup failed. I assume this address has no DNS name.",
        "192.0.2.9: Adding shop.example.net to control/locals...",
        "2001:db8::1: PTR lookup failed. I assume this address has no DNS name.",
    ]
    assert [run.command for run in History(str(tmp_path)).records()] == ["config"]


def test_existing_settings_stay_and_rcpthosts_is_a_copy_of_locals(tmp_path: Path, zone: Zone) -> None:
    (tmp_path / "control").mkdir()
    (tmp_path / "control/locals").write_text("mine\n")
    (tmp_path / "control/plusdomain").write_text("mine.example\n")
    assert configure(tmp_path) == 0
    assert setting(tmp_path, "locals") == setting(tmp_path, "rcpthosts") == "mine\n"
    assert setting(tmp_path, "plusdomain") == "mine.example\n"
    zone[("box", "CNAME")] = ["new.example.com."]
    zone[("new.example.com", "A")] = ["192.0.2.1"]
    assert configure(tmp_path) == 0
    assert setting(tmp_path, "me") == "new.example.com\n"
    assert setting(tmp_path, "defaultdomain") == "example.org\n"


def test_a_host_whose_addresses_have_no_names_is_local_all_the_same(tmp_path: Path, zone: Zone) -> None:
    for key in [key for key in zone if key[1] == "PTR"]:
        del zone[key]
    assert configure(tmp_path) == 0
    assert setting(tmp_path, "locals") == "mail.example.org\n"


def test_a_name_in_the_dns_that_is_no_host_name_is_passed_over(tmp_path: Path, zone: Zone) -> None:
    zone[("9.2.0.192.in-addr.arpa", "PTR")] = [r"evil\010example.net.", "good.example.net."]
    assert configure(tmp_path) == 0
    assert setting(tmp_path, "locals") == "localhost\nmail.example.org\ngood.example.net\n"


def test_an_unknown_host_gets_a_remedy(tmp_path: Path, zone: Zone, capsys: pytest.CaptureFixture[str]) -> None:
    del zone[("box", "CNAME")]
    assert configure(tmp_path) == 100
    output = capsys.readouterr()
    assert output.out.splitlines()[1] == "Sorry, I couldn't find your host's canonical name in DNS."
    assert output.err == (
        "config: fatal: the DNS knows no box; publish an address for it, or name this host yourself: config-fast FQDN\n"
    )
    assert not (tmp_path / "control").exists()


def test_an_unreachable_name_server_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "servfail")
    assert configure(tmp_path) == 111
    assert capsys.readouterr().err == (
        "config: fatal: DNS gives no answer for servfail A: NoNameservers; look at /etc/resolv.conf, "
        "or name this host yourself: config-fast FQDN\n"
    )
    assert not (tmp_path / "control").exists()
