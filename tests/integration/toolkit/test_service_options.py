"""Every option has an effect, and invalid values are refused with a reason."""

import os
from pathlib import Path

import pytest

from eqmail_core.site.site import Site
from eqmail_setup.cli.commands.gen import gen_command
from eqmail_setup.errors import EqmailError
from eqmail_setup.services.activation import next_steps
from eqmail_setup.services.compose import effective_options
from eqmail_setup.services.definitions import MTA, SERVICES
from eqmail_setup.services.managers import MANAGERS
from eqmail_setup.services.options import ServiceOptions, Settings
from tests.support.service_file_cases import HOME, Case, pieces_of, texts_of

# Another value than the usual one for every key.
OTHER = {
    "name": "other",
    "folder": "/srv/files",
    "delivery": "./Other/",
    "logger": "other-logger",
    "listener": "resident",
    "address": "127.0.0.9",
    "ipv6": "yes",
    "port": "4025",
    "concurrency": "17",
    "per_source": "18",
    "memory": "19000000",
    "checkpassword": "/opt/other-checker",
    "tcpserver": "other-tcpserver",
    "rules": "/srv/other.cdb",
    "only_from": "10.9.8.7",
    "relay": "yes",
    "scanned": "/srv/scanned",
    "logdir": "/srv/logs",
    "log_size": "20000",
    "log_count": "21",
    "pidfile": "/srv/other.pid",
    "stop_timeout": "22",
    "handover": "no",
}
OTHER_OF_SYSTEMD = {"listener": "socket", "handover": "yes"}


def test_there_is_another_value_for_every_key() -> None:
    assert set(OTHER) == set(Settings.model_fields)
    assert {key for manager in MANAGERS.values() for key in manager.keys} == set(Settings.model_fields)


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, row in MANAGERS.items() for key in row.keys])
def test_every_key_that_a_service_manager_supports_changes_its_files(name: str, key: str, tmp_path: Path) -> None:
    services = tuple(service for service in MANAGERS[name].services if service in (MTA, "smtp"))
    pairs = ("listener=socket",) if name == "systemd" and key not in ("listener",) else ()
    needed = ("only_from=127.0.0.1",) if key == "relay" else ()
    before = pieces_and_texts(Case(name, services, (*pairs, *needed)), tmp_path)
    given = OTHER_OF_SYSTEMD.get(key, OTHER[key]) if name == "systemd" else OTHER[key]
    assert pieces_and_texts(Case(name, services, (*pairs, *needed, f"{key}={given}")), tmp_path) != before


def pieces_and_texts(case: Case, root: Path) -> object:
    pieces = pieces_of(case, root)
    steps = next_steps(MANAGERS[case.manager], pieces)
    return [(piece.path, piece.mode) for piece in pieces], texts_of(case, root), steps


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (Case("xinetd", ("mta",)), "xinetd cannot run mta"),
        (Case("sysv", ("mta", "qmtp")), "cannot run qmtp"),
        (Case("xinetd", (), ("relay=yes",)), "would let everybody relay"),
        (Case("xinetd", (), ("memory=3",)), "unknown for xinetd"),
        (Case("xinetd", (), ("colour=red",)), "nothing is called so"),
        (Case("xinetd", (), ("port",)), "write KEY=VALUE"),
        (Case("xinetd", (), ("imap.port=143",)), "the services are mta, smtp"),
        (Case("xinetd", (), ("port=123456",)), "less than 65536"),
        (Case("xinetd", (), ("address=localhost",)), "does not appear to be an IPv4 or IPv6 address"),
        (
            Case("xinetd", (), ("only_from=10.0.0.1\n        server = /tmp/evil",)),
            "does not appear to be an IPv4 or IPv6",
        ),
        (Case("xinetd", (), ("only_from=trusted.example",)), "does not appear to be an IPv4 or IPv6 address"),
        (Case("xinetd", (), ("only_from=10.0.0.0/99",)), "does not appear to be an IPv4 or IPv6 network"),
        (Case("xinetd", (), ("checkpassword=/bin/x\n}",)), "must be one line"),
        (Case("xinetd", (), ("folder=/srv/a\x1bb",)), "must be one line"),
        (Case("s6", (), ("logdir=logs",)), "must be an absolute path"),
        (Case("s6", (), ("tcpserver='",)), "No closing quotation"),
        (Case("s6", (), ("name=../evil",)), "should match pattern"),
        (Case("s6", (), ("listener=socket",)), "s6 knows tcpserver, resident"),
        (Case("sysv", (), ("logger=",)), "needs a logger"),
        (Case("systemd", ("smtp",)), "add --service mta"),
        (Case("runit", ("mta", "smtp", "submission"), ("port=2525",)), "cannot both listen on port 2525"),
    ],
    ids=lambda value: "-".join((*value.services, *value.pairs)).replace("/", "_") if isinstance(value, Case) else "",
)
def test_invalid_values_are_refused_with_a_reason(case: Case, reason: str, tmp_path: Path) -> None:
    with pytest.raises(EqmailError, match=reason):
        pieces_of(case, tmp_path)


def test_one_service_can_have_its_own_values(tmp_path: Path) -> None:
    texts = texts_of(Case("runit", ("mta", "smtp", "submission"), ("smtp.port=2525",)), tmp_path)
    assert b" 2525 " in texts["qmail-smtpd/run"]
    assert b" 587 " in texts["qmail-submission/run"]


def test_a_missing_service_is_named_with_the_installed_ones(tmp_path: Path) -> None:
    pieces_of(Case("s6"), tmp_path)
    os.unlink(tmp_path / HOME.lstrip("/") / "bin/qmail-pop3d")
    with pytest.raises(
        EqmailError, match=r"pop3 is not installed here: .*/bin/qmail-pop3d missing; here are mta, smtp"
    ):
        pieces_without_making(tmp_path, ("pop3",))


def pieces_without_making(root: Path, services: tuple[str, ...]) -> object:
    from eqmail_core.site.site import Site
    from eqmail_setup.services.compose import compose
    from eqmail_setup.services.options import ServiceOptions

    return compose(MANAGERS["s6"], Site(home=HOME), ServiceOptions((), tuple(SERVICES)), services, str(root))


def test_xinetd_cannot_serve_a_home_with_a_blank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.service_file_cases.HOME", "/srv/the mail")
    with pytest.raises(EqmailError, match="must not have white space"):
        pieces_of(Case("xinetd"), tmp_path)


def test_the_commands_are_documented() -> None:
    command = gen_command("xinetd", "xinetd works")
    assert all(getattr(parameter, "help", "") for parameter in command.params)


@pytest.mark.parametrize("name", MANAGERS)
def test_the_values_shown_are_those_in_force(name: str) -> None:
    manager = MANAGERS[name]
    none = ServiceOptions((), tuple(SERVICES))
    shown = {key: value for key, value, _ in effective_options(manager, Site(home="/srv/qmail"), none, ())}
    assert set(shown) == set(manager.keys)
    assert shown["folder"] == manager.folder.format(home="/srv/qmail") != "/"
    assert "25 (smtp)" in shown["port"] and not set(shown.values()) & {"True", "False", "yes", "no"}
