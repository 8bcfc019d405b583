"""The command line of qmail-tcpsrv, and what it logs."""

import pytest

from eqmail_core.tcpserver.log_lines import sanitized, verdict_line
from eqmail_core.tcpserver.options import BadUsage, TcpsrvOptions, parse_command_line
from eqmail_core.text.options import BadOption


def parse(words: str, **environ: str) -> TcpsrvOptions:
    argv = [b"qmail-tcpsrv", *words.encode().split()]
    return parse_command_line(argv, {name.encode(): value.encode() for name, value in environ.items()})


def test_without_options_the_defaults_of_tcpserver_hold() -> None:
    chosen = parse("0 25 qmail-smtpd x -v")
    assert (chosen.host, chosen.port, chosen.program) == (b"0", b"25", [b"qmail-smtpd", b"x", b"-v"])
    assert (chosen.limit, chosen.backlog, chosen.verbosity, chosen.ident_timeout_s) == (40, 20, 1, 26)
    assert (chosen.asks_name, chosen.asks_user, chosen.is_paranoid, chosen.rules) == (True, False, False, b"")


def test_letters_and_their_arguments() -> None:
    chosen = parse("-vHRpXD1 -c3 -x rules.cdb -l0 -u 7 -g 8 -t 1 -b2 -Bhi 127.0.0.1 smtp true")
    assert (chosen.verbosity, chosen.asks_name, chosen.is_paranoid, chosen.tells_port) == (2, False, True, True)
    assert (chosen.limit, chosen.uid, chosen.gid, chosen.ident_timeout_s, chosen.backlog) == (3, 7, 8, 1, 2)
    assert (chosen.rules, chosen.local_name, chosen.banner, chosen.rules_may_miss) == (b"rules.cdb", b"0", b"hi", True)


def test_the_last_of_two_opposites_counts() -> None:
    assert parse("-rR 0 1 x").asks_user is False
    assert parse("-Rr 0 1 x").asks_user is True


def test_uid_and_gid_may_come_from_the_environment() -> None:
    chosen = parse("-U 0 25 true", UID="12", GID="13x")
    assert (chosen.uid, chosen.gid) == (12, 13)
    assert parse("-U 0 25 true").uid == 0


@pytest.mark.parametrize("words", ["", "0", "0 25", "-v 0 25", "-c0 0 25 true", "-cx 0 25 true"])
def test_invalid_values_are_usage_errors(words: str) -> None:
    with pytest.raises(BadUsage):
        parse(words)


@pytest.mark.parametrize("words", ["-6 0 25 true", "-c"])
def test_unknown_options_are_refused(words: str) -> None:
    with pytest.raises(BadOption):
        parse(words)


def test_remote_names_are_sanitized_and_truncated() -> None:
    assert sanitized(b"a b\n%\xff~") == b"a?b???~"
    assert sanitized(b"x" * 101) == b"x" * 100 + b"..."
    assert sanitized(None) == b""


def test_both_ends_stand_in_the_line() -> None:
    environ = {b"TCPLOCALIP": b"::1", b"TCPLOCALPORT": b"25", b"TCPREMOTEIP": b"::2", b"TCPREMOTEPORT": b"9"}
    environ[b"TCPREMOTEINFO"] = b"j\0e"
    assert verdict_line(False, 7, environ) == b"ok 7 :::1:25 :::2:j?e:9"
    assert verdict_line(True, 7, environ) == b"deny 7 :::1:25 :::2:j?e:9"
