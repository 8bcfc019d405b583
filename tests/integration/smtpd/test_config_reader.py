"""The settings of the SMTP server, from files and environment."""

import os
from pathlib import Path

import pytest

from eqmail_core.access.morercpthosts import morercpthosts_lookup
from eqmail_core.access.rcpthosts_database import compile_domains
from eqmail_core.control.setting import ControlError
from eqmail_core.outcome import TemporaryFailure
from eqmail_core.smtpd.policy.config import PolicyConfig
from eqmail_core.smtpd.server.config_reader import read_policy_config
from tests.support.smtp_servers import Home


def read(home: Home, port: bytes = b"25", **environ: bytes) -> PolicyConfig:
    variables = {name.encode(): value for name, value in environ.items()}
    return read_policy_config(home.site, home.controls(), variables, morercpthosts_lookup(home.site), [], port)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_the_name_of_the_host_is_the_greeting_unless_there_is_one(home: Home) -> None:
    assert read(home).rules.greeting == b"mx.test"
    home.write("smtpgreeting", "hello.test welcome\n")
    assert read(home).rules.greeting == b"hello.test welcome"


@pytest.mark.parametrize("file", ["me", "smtpgreeting"])
def test_an_empty_name_is_no_name_to_greet_with(home: Home, file: str) -> None:
    home.write(file, "\n")
    assert read(home).rules.greeting == (b"mx.test" if file == "smtpgreeting" else os.uname().nodename.encode())


def test_without_a_name_there_is_no_server(home: Home) -> None:
    (Path(home.site.control) / "me").unlink()
    with pytest.raises(ControlError):
        read(home)


def test_the_submission_port_wants_authentication(home: Home) -> None:
    assert read(home, b"587").rules.mail_needs_auth
    assert not read(home, b"25").rules.mail_needs_auth
    assert not read(home, b"587", SUBMISSIONPORT=b"999").rules.mail_needs_auth
    assert read(home, b"25", SUBMISSIONPORT=b"25").rules.mail_needs_auth
    assert not read(home, b"465").rules.mail_needs_auth


def test_there_may_be_several_submission_ports(home: Home) -> None:
    for port, needs in ((b"587", True), (b"465", True), (b"25", False), (b"5", False), (b"", False)):
        assert read(home, port, SUBMISSIONPORT=b"587 465").rules.mail_needs_auth == needs
    assert not read(home, b"587", SUBMISSIONPORT=b"").rules.mail_needs_auth


def test_only_the_value_1_requires_tls(home: Home) -> None:
    assert read(home, TLSREQUIRED=b"1").rules.auth_needs_tls
    assert not read(home, TLSREQUIRED=b"yes").rules.auth_needs_tls


def test_plugins_come_from_the_file_or_the_one_the_environment_names(home: Home) -> None:
    assert read(home).plugins is None
    home.write("smtpplugins", "[mail]\n# none\n")
    assert read(home).plugins is None
    home.write("smtpplugins", "[mail]\nbin/p\n")
    assert (read(home).plugins or {})[b"m"] == [b"bin/p"]
    assert read(home, NOSPP=b"").plugins is None
    home.write("others", "[rcpt]\nbin/q\n")
    assert (read(home, SPPCONFFILE=b"control/others").plugins or {})[b"r"] == [b"bin/q"]
    assert read(home, SPPCONFFILE=b"").plugins is not None


def test_loopback_is_an_own_address(home: Home) -> None:
    rules = read(home).rules
    assert rules.is_own_address(b"127.0.0.1")
    assert not rules.is_own_address(b"192.0.2.99")
    assert rules.local_ip_host == b"mx.test"


def test_the_compiled_domains_are_asked_when_the_listed_ones_do_not_match(home: Home) -> None:
    path = f"{home.site.control}/morercpthosts.cdb"
    compile_domains(path, f"{path}.tmp", b"More.dom\n.wild.dom\n")
    hosts = read(home).recipient_hosts
    assert hosts.accepts(b"a@more.DOM")
    assert hosts.accepts(b"a@x.wild.dom")
    assert not hosts.accepts(b"a@x.more.dom")


def test_damaged_compiled_domains_are_a_temporary_failure(home: Home) -> None:
    Path(home.site.control, "morercpthosts.cdb").write_bytes(b"\xff" * 3000)
    with pytest.raises(TemporaryFailure):
        read(home).recipient_hosts.accepts(b"a@elsewhere")
    assert read(home).recipient_hosts.accepts(b"a@ours.test")
