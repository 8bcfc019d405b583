"""Refusals are logged by both drivers, in C's form where the log must be C's, and never without bound."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from eqmail_core.smtpd.policy.log_budget import ADDRESSES, LINES, LineBudget
from tests.integration.smtpd.test_sessions import read_all
from tests.support.smtp_servers import Home, Resident, blocking_server

Serve = Callable[[Home, bytes], bytes]


def resident(home: Home, client_data: bytes) -> bytes:
    with Resident(home) as server, server.connect() as client:
        client.sendall(client_data)
        return read_all(client)


def waiting(home: Home, client_data: bytes) -> bytes:
    with blocking_server(home) as (client, _):
        client.sendall(client_data)
        return read_all(client)


BOTH = pytest.mark.parametrize("serve", [resident, waiting])
LOGIN, WRONG = (b"AUTH PLAIN " + base64.b64encode(b"\0joe\0" + word) + b"\r\n" for word in (b"good", b"bad"))


def prepared(path: Path, **controls: str) -> Home:
    return Home(path / "home", smtpcheckpw=f"{path}/home/bin/checker true\n", **controls)


@BOTH
@pytest.mark.parametrize(
    ("command", "line"),
    [
        (
            b"MAIL FROM:<a@b>\r\nRCPT TO:<x@foreign.test>\r\n",
            "refused (553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)): "
            "a@b from 127.0.0.1 to x@foreign.test helo me",
        ),
        (
            b"MAIL FROM:<a@b> SIZE=999\r\n",
            "refused (552 sorry, that message size exceeds my databytes limit (#5.3.4)): "
            "a@b from 127.0.0.1 to (null) helo me",
        ),
        (b"MAIL FROM:<a\x01>\r\n", "refused (555 syntax error (#5.5.4)): (null) from 127.0.0.1 to (null) helo me"),
        (
            b"MAIL FROM:<bad@x>\r\nRCPT TO:<y@ours.test>\r\n",
            "refused (553 sorry, your envelope sender is in my badmailfrom list (#5.7.1)): "
            "bad@x from 127.0.0.1 to y@ours.test helo me",
        ),
        (
            b"MAIL FROM:<a@b>\r\nRCPT TO:<y@ours.test>\r\nRCPT TO:<z@ours.test>\r\n",
            "refused (452 too many recipients (#4.5.3)): a@b from 127.0.0.1 to z@ours.test helo me",
        ),
    ],
)
def test_refused_mail_is_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], serve: Serve, command: bytes, line: str
) -> None:
    home = prepared(tmp_path, databytes="99\n", badmailfrom="bad@x\n", maxrcpt="1\n")
    serve(home, b"EHLO me\r\n" + command + b"QUIT\r\n")
    assert [it for it in capfd.readouterr().err.splitlines() if "refused" in it] == ["qmail-smtpd: " + line]


@BOTH
def test_failed_logins_and_senders_of_accepted_mail_are_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eqmail_core.smtpd.policy.authentication.FAILED_AUTH_PAUSE_S", 0.0)
    mail = b"MAIL FROM:<a@b>\r\nRCPT TO:<x@foreign.test>\r\nDATA\r\n"
    home = prepared(tmp_path)
    replies = serve(home, b"EHLO me\r\n" + WRONG + LOGIN + mail + b"x\r\n.\r\nQUIT\r\n")
    assert b"\r\n535 " in replies
    assert capfd.readouterr().err.splitlines() == [
        "qmail-smtpd: login of joe failed (535 authentication failed (#5.7.1)): "
        "(null) from 127.0.0.1 to (null) helo me",
        "qmail-smtpd: message accepted (login joe): a@b from 127.0.0.1 to x@foreign.test helo me",
    ]


@BOTH
def test_the_log_matches_c(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eqmail_core.smtpd.policy.authentication.FAILED_AUTH_PAUSE_S", 0.0)
    mail = b"MAIL FROM:<a@b>\r\nRCPT TO:<x@foreign.test>\r\nDATA\r\nx\r\n.\r\n"
    home = prepared(tmp_path, smtplogformat="c\n", smtpmaxcommands="9\n")
    refused = mail.partition(b"DATA")[0]
    replies = serve(home, b"EHLO me\r\n" + WRONG + refused + b"RSET\r\n" + LOGIN + mail + b"NOOP\r\n" * 20)
    assert b"\r\n421 too many commands" in replies
    assert capfd.readouterr().err.splitlines() == [
        "qmail-smtpd: message accepted: a@b from 127.0.0.1 to x@foreign.test helo me"
    ]


@BOTH
def test_commands_in_disorder_refuse_no_mail(tmp_path: Path, capfd: pytest.CaptureFixture[str], serve: Serve) -> None:
    serve(prepared(tmp_path), b"HUHU\r\nDATA\r\nRCPT TO:<a>\r\nSTARTTLS\r\nQUIT\r\n")
    assert [line for line in capfd.readouterr().err.splitlines() if "refused (50" in line] == []


@BOTH
def test_log_lines_per_address_are_limited(tmp_path: Path, capfd: pytest.CaptureFixture[str], serve: Serve) -> None:
    home = prepared(tmp_path, smtpmaxerrors="0\n")
    refused = b"RCPT TO:<x@foreign.test>\r\n" * (3 * LINES)
    client_data = b"EHLO me\r\nMAIL FROM:<a@b>\r\n" + refused + b"RCPT TO:<x@ours.test>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"
    serve(home, client_data)
    lines = capfd.readouterr().err.splitlines()
    # The minute may have changed in between.
    assert LINES <= sum("refused" in line for line in lines) <= 2 * LINES
    assert sum("message accepted" in line for line in lines) == 1


def test_the_budget_of_a_minute_is_for_each_address_and_counts_what_it_leaves_out() -> None:
    budget = LineBudget()
    assert [budget.admits(b"a", 60) for _ in range(LINES + 5)].count(True) == LINES
    assert budget.admits(b"b", 61)
    assert budget.left_out(100) == 5
    assert budget.left_out(101) == 0
    assert [budget.admits(b"a", 119) for _ in range(3)] == [False] * 3
    assert budget.left_out(119) == 0
    assert budget.admits(b"a", 120)
    assert budget.left_out(121) == 3


def test_very_many_addresses_share_one_budget() -> None:
    budget = LineBudget()
    admitted = sum(budget.admits(b"%d" % number, 0) for number in range(3 * ADDRESSES))
    assert ADDRESSES <= admitted <= ADDRESSES + LINES
