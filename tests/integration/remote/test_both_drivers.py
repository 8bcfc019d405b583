"""What the resident service and qmail-remote do alike: which servers they try, what they report, what they need."""

import errno
import os

import pytest

from eqmail_core.remote.tcpto import TcptoCache
from tests.support.remote_harness import Deliver, RemoteHome
from tests.support.scripted_server import PIPELINING, ScriptedServer

ACCEPTED = (b"K", b"127.0.0.2 accepted message.\nRemote host said: 250 queued\n")
NO_CONNECTION = b"Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)"
NO_HOST_YET = b"Sorry, I couldn't find any host by that name. (#4.1.2)\n"


@pytest.mark.parametrize("host", [b"to-ip.test", "müller.test".encode(), "MÜLLER.test".encode()])
def test_a_host_is_found_by_an_address_as_exchanger_and_by_its_a_labels(
    host: bytes, deliver: Deliver, remote_home: RemoteHome
) -> None:
    with ScriptedServer(PIPELINING, host="127.0.0.2") as server:
        remote_home.control("smtproutes", f"::{server.port}")
        assert deliver(b"r@" + host) == ACCEPTED


def test_a_relay_beyond_ascii_is_looked_up_and_its_files_are_found_by_a_labels(
    deliver: Deliver, remote_home: RemoteHome
) -> None:
    remote_home.names.zone[("xn--mller-kva.test", "A")] = ["127.0.0.2"]
    with ScriptedServer({"ehlo": "250-x\n250 STARTTLS", "star": "220 go"}, host="127.0.0.2") as server:
        remote_home.control("smtproutes", f":müller.test:{server.port}")
        (remote_home.home / "control/notlshosts").mkdir()
        (remote_home.home / "control/notlshosts/xn--mller-kva.test").touch()
        assert deliver(b"r@one.test") == ACCEPTED


@pytest.mark.parametrize(
    ("host", "text"),
    [
        (b"behind.test", NO_HOST_YET),
        (b"before.test", b"Sorry, I couldn't find a mail exchanger or IP address. (#4.4.4)\n"),
    ],
)
def test_a_secondary_waits_for_its_primary(host: bytes, text: bytes, deliver: Deliver, remote_home: RemoteHome) -> None:
    assert deliver(b"r@" + host) == (b"Z", text)


def test_a_report_names_the_addresses_that_were_tried(deliver: Deliver, remote_home: RemoteHome) -> None:
    remote_home.control("smtproutes", "::1")
    reason = b" (dead.test 127.0.0.5 port 1: connection refused; a.test 127.0.0.2 port 1: connection refused)\n"
    assert deliver(b"r@two.test") == (b"Z", NO_CONNECTION + reason)
    TcptoCache(str(remote_home.tcpto)).clear()
    one = b"dead.test 127.0.0.5 port 1: connection refused"
    assert deliver(b"r@crowd.test") == (b"Z", NO_CONNECTION + b" (%b; 7 more)\n" % b"; ".join([one] * 3))


def test_the_reply_of_a_busy_server_is_reported(deliver: Deliver, remote_home: RemoteHome) -> None:
    with ScriptedServer({"greet": "421 busy"}, host="127.0.0.2") as server:
        remote_home.control("smtproutes", f"::{server.port}")
        assert deliver(b"r@one.test") == (b"Z", NO_CONNECTION + b"\nRemote host said: 421 busy\n")


def test_no_further_address_is_tried_when_the_time_for_them_is_over(deliver: Deliver, remote_home: RemoteHome) -> None:
    remote_home.control("timeoutaddresses", "0")
    with ScriptedServer(PIPELINING, host="127.0.0.2") as server:
        remote_home.control("smtproutes", f"::{server.port}")
        letter, text = deliver(b"r@two.test")
        assert (letter, server.messages) == (b"Z", 0)
        assert text.startswith(NO_CONNECTION + b" (dead.test 127.0.0.5 port ")
        assert deliver(b"r@one.test") == ACCEPTED


def test_too_many_dead_exchangers_defer_after_the_dns_time_limit(deliver: Deliver, remote_home: RemoteHome) -> None:
    remote_home.control("timeoutdns", "0")
    assert deliver(b"r@liar.test")[0] == b"Z"
    assert not any(name.startswith("silent") for name, _, _ in remote_home.names.asked)


@pytest.mark.parametrize("seconds", ["9999999", "99999999999999999999999"])
def test_any_time_out_is_accepted(seconds: str, deliver: Deliver, remote_home: RemoteHome) -> None:
    for name in ("timeoutremote", "timeoutconnect", "timeoutdns", "timeoutaddresses"):
        remote_home.control(name, seconds)
    with ScriptedServer(PIPELINING, host="127.0.0.2") as server:
        remote_home.control("smtproutes", f"::{server.port}")
        assert deliver(b"r@one.test") == ACCEPTED


# --------------------------------------------------------------------- SMTPUTF8

UTF8_RECEIVED = b"Received: from a (1.2.3.4)\n  by b with UTF8SMTP; now\n"


@pytest.mark.parametrize("by", ["resident", "qmail-remote"])
@pytest.mark.parametrize(
    ("message", "is_needed"),
    [
        (b"Subject: x\n\nbody\n", False),
        (b"Subject: x\n\ngr\xc3\xbc\xc3\x9fe\n", False),
        (b"Subject: gr\xc3\xbc\xc3\x9fe\n\nbody\n", True),
        (b"X: " + b"x\n y" * 40000 + b"\n\n\xc3\xbc\n", False),
        (b"X: " + b"x\n y" * 40000 + b"\xc3\xbc\n\nbody\n", True),
        (b"X: " + b"x\n y" * 400000 + b"\n\nbody\n", True),
        (b"", False),
    ],
)
def test_smtputf8_is_needed_where_the_header_is_beyond_ascii(
    message: bytes, is_needed: bool, by: str, remote_home: RemoteHome
) -> None:
    remote_home.write_message(UTF8_RECEIVED + message)
    with ScriptedServer(PIPELINING, PIPELINING | {"ehlo": "250-x\n250 SMTPUTF8"}, host="127.0.0.2") as server:
        remote_home.control("smtproutes", f"::{server.port}")
        for _ in range(2):
            if by == "resident":
                ((letter, text),) = remote_home.deliver(b"r@one.test", dsn=b"W U")
            else:
                report = remote_home.deliver_once(b"r@one.test").removeprefix(b"r\0")
                letter, text = report[:1], report[1:]
            if is_needed:
                break
        if is_needed:
            assert (letter, text[:42]) == (b"D", b"127.0.0.2 does not take messages beyond AS")
        else:
            assert (letter, server.messages) == (b"K", 2)
            assert b"SMTPUTF8" not in server.received[0] + server.received[1]
            body = message.replace(b"\n", b"\r\n")
            assert server.received[0].partition(b"DATA\r\n")[2].partition(b".\r\nQUIT")[0].endswith(body)


def test_an_address_beyond_ascii_needs_smtputf8(remote_home: RemoteHome) -> None:
    with ScriptedServer(PIPELINING, {"ehlo": "250-x\n250 SMTPUTF8"}, host="127.0.0.2") as server:
        remote_home.control("smtproutes", f"::{server.port}")
        recipient = "jürg@one.test".encode()
        assert remote_home.deliver(recipient, dsn=b"W U")[0][0] == b"D"
        assert remote_home.deliver(recipient, dsn=b"W U")[0][0] == b"K"
        assert 'MAIL FROM:<s@x.test> SMTPUTF8\r\nRCPT TO:<"jürg"@one.test>\r\n'.encode() in server.received[1]


# --------------------------------------------------------------------- orders


def test_a_message_in_memory_that_can_be_altered_is_refused(remote_home: RemoteHome) -> None:
    os.close(remote_home.message)
    remote_home.message = os.memfd_create("message")
    os.write(remote_home.message, b"Subject: x\n\nbody\n")
    assert remote_home.deliver(b"r@one.test") == [(b"Z", b"ZSorry, message has wrong type. (#4.3.5)\n"[1:])]


def test_a_message_that_cannot_be_read_waits(remote_home: RemoteHome, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "broken disk")

    with ScriptedServer(PIPELINING, host="127.0.0.2") as server:
        remote_home.control("smtproutes", f"::{server.port}")
        monkeypatch.setattr(os, "pread", fail)
        for dsn in (b"", b"W U"):
            assert remote_home.deliver(b"r@one.test", dsn=dsn)[0] == (b"Z", b"Unable to read message. (#4.3.0)\n")


@pytest.mark.parametrize(
    ("trouble", "text"),
    [
        (MemoryError(), b"Out of memory. (#4.3.0)\n"),
        (OSError(errno.EMFILE, "no"), b"System resources temporarily unavailable. (#4.3.0)\n"),
    ],
)
def test_system_errors_defer(
    trouble: Exception, text: bytes, deliver: Deliver, remote_home: RemoteHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise trouble

    with ScriptedServer(PIPELINING, host="127.0.0.2") as server:
        remote_home.control("smtproutes", f"::{server.port}")
        monkeypatch.setattr("eqmail_core.remote.delivery.policy_for", fail)
        monkeypatch.setattr("eqmail_core.remote.qmail_remote.policy_for", fail)
        assert deliver(b"r@one.test") == (b"Z", text)
