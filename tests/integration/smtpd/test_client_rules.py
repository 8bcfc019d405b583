"""Every variable of a rule works for its client alone, and limits hold for all processes together."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from eqmail_core.site.site import Site
from eqmail_core.smtpd.server.config_reader import PolicyConfigCache
from eqmail_core.smtpd.server.connection_counts import SharedCounters
from eqmail_core.tcpserver.rules_database import compile_rules, find_rule
from tests.integration.smtpd.test_sessions import read_all
from tests.support.smtp_servers import Home, Resident

CHECKER = [b"bin/checker"]
OTHER = "127.0.0.2"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", smtpcheckpw="bin/checker true\n", smtpplugins="[mail]\n:echo E550 plugin\n")


@contextmanager
def ruled(home: Home, variables: str) -> Iterator[Resident]:
    """A server with a rule for 127.0.0.2."""
    rules = f"{home.site.control}/rules.cdb"
    compile_rules(rules, f"{rules}.tmp", [f"{OTHER}:allow,{variables}".encode()])
    with Resident(home) as server:
        site, controls = home.site, home.controls()
        server.settings.policy_for = PolicyConfigCache(site, controls, lambda names: False, False).policy_for
        server.settings.rule_for = lambda ip: find_rule(rules, ip, None, None)
        yield server


def talk(server: Resident, source: str, words: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), 10, (source, 0)) as client:
        client.sendall(words + b"QUIT\r\n")
        return read_all(client)


@pytest.mark.parametrize(
    ("variables", "words", "expected"),
    [
        ('DATABYTES="3"', b"EHLO c\r\n", b"250-SIZE 3\r\n"),
        ('DATABYTES="3",NOSPP=""', b"MAIL FROM:<a@b> SIZE=4\r\n", b"552 sorry, that message size exceeds"),
        ('NOSPP=""', b"MAIL FROM:<a@b>\r\n", b"250 ok\r\n"),
        ('SPPCONFFILE="none"', b"MAIL FROM:<a@b>\r\n", b"250 ok\r\n"),
        ('TLSREQUIRED="1"', b"AUTH PLAIN AGpvZQBnb29k\r\n", b"538 AUTH PLAIN/LOGIN not available without TLS"),
        ('SMTPAUTH="cram"', b"EHLO c\r\n", b"250 AUTH CRAM-MD5\r\n"),
        ('SMTPAUTH="!"', b"MAIL FROM:<a@b>\r\n", b"530 Authorization required"),
        ('MAXRCPT="1",NOSPP=""', b"MAIL FROM:<a@b>\r\n" + 2 * b"RCPT TO:<a@ours.test>\r\n", b"452 too many recipients"),
    ],
)
def test_a_rule_changes_the_policy_of_its_client_only(
    home: Home, variables: str, words: bytes, expected: bytes
) -> None:
    with ruled(home, variables) as server:
        assert expected not in talk(server, "127.0.0.1", words)
        assert expected in talk(server, OTHER, words)
        assert expected not in talk(server, "127.0.0.1", words)


def test_a_rule_may_set_the_submission_port(home: Home) -> None:
    with ruled(home, "NOSPP=''") as server:
        port = server.port
    with ruled(home, f'SUBMISSIONPORT="{port}"'):
        builder = PolicyConfigCache(home.site, home.controls(), lambda names: False, False)
        assert builder.policy_for(port, {b"SUBMISSIONPORT": b"%d" % port}, CHECKER).rules.mail_needs_auth
        assert not builder.policy_for(port, {}, CHECKER).rules.mail_needs_auth
        assert builder.policy_for(port, {}, CHECKER) is builder.policy_for(port, {b"PATH": b"/bin"}, CHECKER)
        assert builder.policy_for(port, {}, CHECKER).rules.auth_methods
        assert not builder.policy_for(port, {}, []).rules.auth_methods


@pytest.mark.parametrize("number", ["9" * 5000, "", "x", "-1"])
def test_an_invalid_number_is_ignored(home: Home, number: str) -> None:
    names = ("DATABYTES", "GREETDELAY", "TARPITCOUNT", "TARPITDELAY")
    with ruled(home, "NOSPP=''," + ",".join(f'{name}="{number}"' for name in names)) as server:
        assert b"250 ok" in talk(server, OTHER, b"MAIL FROM:<a@b>\r\nRCPT TO:<a@ours.test>\r\n")


def test_an_unreadable_plugin_file_is_a_temporary_failure(home: Home) -> None:
    with ruled(home, 'SPPCONFFILE="control"') as server:
        with socket.create_connection(("127.0.0.1", server.port), 10, (OTHER, 0)) as client:
            assert read_all(client) == b"421 unable to read controls (#4.3.0)\r\n"
        assert talk(server, "127.0.0.1", b"").startswith(b"220 ")


def test_networks_of_both_kinds_have_rules(home: Home, tmp_path: Path) -> None:
    rules = str(tmp_path / "rules.cdb")
    lines = [b"127.0.0.0/30:allow,A='four'", b"2001:db8::/32:allow,A='six'", b"2001:db8:1::/48:deny", b":deny"]
    compile_rules(rules, f"{rules}.tmp", lines)

    def rule(ip: bytes) -> tuple[bool, bytes | None]:
        found = find_rule(rules, ip, None, None)
        assert found is not None
        return found.denies, found.variables.get(b"A")

    assert rule(b"127.0.0.3") == (False, b"four")
    assert rule(b"127.0.0.4") == (True, None)
    assert rule(b"2001:db8:ffff::1") == (False, b"six")
    assert rule(b"2001:db8:1::1") == (True, None)
    assert rule(b"2001:db9::1") == (True, None)


class TestLimits:
    """Two processes that count together."""

    @contextmanager
    def two(self, tmp_path: Path) -> Iterator[tuple[Resident, Resident]]:
        """Two servers as two processes are; both live in this one, so that neither is dead."""
        counts = SharedCounters(2)
        with ExitStack() as stack:
            pair = []
            for share in counts.all_counters():
                server = Resident(Home(tmp_path / f"home{len(pair)}"), limit=2)
                server.context.counts = share
                share.begin()
                pair.append(stack.enter_context(server))
            yield pair[0], pair[1]

    def test_all_sessions_count(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        with self.two(tmp_path) as (first, second), first.connect() as one, second.connect() as two:
            assert one.recv(100).startswith(b"220") and two.recv(100).startswith(b"220")
            for server in (first, second):
                with server.connect() as client:
                    assert read_all(client) == b"421 too many connections (#4.3.2)\r\n"
        assert capfd.readouterr().err.count("too many connections of all: (null) from 127.0.0.1") == 2

    def test_sessions_and_checks_per_address_are_limited(self, tmp_path: Path) -> None:
        with self.two(tmp_path) as (first, second), first.connect() as one:
            second.settings.limits.sessions = 1
            assert one.recv(100).startswith(b"220")
            with second.connect() as client:
                assert read_all(client) == b"421 too many connections from your address (#4.7.0)\r\n"

    def test_wrong_passwords_count_everywhere(self, tmp_path: Path) -> None:
        with self.two(tmp_path) as (first, second):
            first.settings.limits.login_failures = second.settings.limits.login_failures = 1
            first.context.note_failure(b"127.0.0.1")
            assert second.context.is_guessing_passwords(b"127.0.0.1")
            assert not second.context.is_guessing_passwords(b"127.0.0.2")


def test_the_config_reader_reads_files_once(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    builder = PolicyConfigCache(Site(home=home.site.home), home.controls(), lambda names: False, False)
    assert builder.policy_for(25, {}, []).rules.size_limit == 0
    home.write("databytes", "5\n")
    assert builder.policy_for(25, {b"MAXRCPT": b"7"}, []).rules.size_limit == 0
