"""The waiting driver, and the addresses that it dials."""

import errno
import io
import socket

import pytest

from eqmail_core.smtp.blocking_client import run_client
from eqmail_core.smtp.client import SmtpClient
from eqmail_core.smtp.connect import counts_as_timeout, dial, literal_address, packed_address
from eqmail_core.smtp.exchange import DONE, TRY_NEXT
from eqmail_core.system.own_addresses import own_addresses
from tests.support.partial_socket import PartialSocket
from tests.support.scripted_server import PIPELINING, EarlyRefusalServer, Script, ScriptedServer

ACCEPTED = b"r\0K127.0.0.1 accepted message.\nRemote host said: 250 queued\n\0"


def talk(server: ScriptedServer, message: bytes = b"a\n", recipients: int = 1, timeout_s: float = 60.0) -> SmtpClient:
    client = SmtpClient(b"127.0.0.1", b"me.test")
    client.begin(b"s@x", [b"r%d@y" % number for number in range(recipients)])
    source = io.BytesIO(message)
    with dial("127.0.0.1", server.port, 60.0) as sock:
        run_client(sock, client, lambda: source.read(65536), timeout_s)
    return client


@pytest.mark.parametrize("script", [{}, PIPELINING])
def test_a_message_is_delivered(script: Script) -> None:
    with ScriptedServer(script) as server:
        assert talk(server).report == ACCEPTED
        server.wait_until_received(b"QUIT\r\n")
    assert server.received == [b"EHLO me.test\r\nMAIL FROM:<s@x>\r\nRCPT TO:<r0@y>\r\nDATA\r\na\r\n.\r\nQUIT\r\n"]


def test_a_large_message_arrives_whole() -> None:
    message = b"".join(b".%07d\n" % number for number in range(400_000))
    with ScriptedServer(PIPELINING) as server:
        assert talk(server, message).report == ACCEPTED
        server.wait_until_received(b"QUIT\r\n")
    content = server.received[0].partition(b"DATA\r\n")[2].removesuffix(b".\r\nQUIT\r\n")
    assert content == message.replace(b".", b"..").replace(b"\n", b"\r\n")


@pytest.mark.parametrize("size", [1, 7, 5000])
def test_every_byte_arrives_once_when_the_socket_takes_only_some(size: int) -> None:
    message = b"".join(b".%07d\n" % number for number in range(300 * size))
    client = SmtpClient(b"127.0.0.1", b"me.test")
    client.begin(b"s@x", [b"r0@y"])
    source = io.BytesIO(message)
    with ScriptedServer(PIPELINING) as server, PartialSocket(dial("127.0.0.1", server.port, 60.0), size) as sock:
        run_client(sock, client, lambda: source.read(65536), 30.0)
        assert client.report == ACCEPTED
    content = server.received[0].partition(b"DATA\r\n")[2].partition(b"\r\n.\r\n")[0] + b"\r\n"
    assert content == message.replace(b".", b"..").replace(b"\n", b"\r\n")
    assert sock.partial > 100
    assert sock.refused > 100


def test_the_reply_before_a_disconnect_within_the_message_counts() -> None:
    for _ in range(5):
        with EarlyRefusalServer() as server:
            text = b"D127.0.0.1 failed after I sent the message.\nRemote host said: 552 too large\n\0"
            assert talk(server, b"a line of many\n" * 500_000, timeout_s=30.0).report == b"r\0" + text


def test_many_pipelined_recipients_do_not_block_either_side() -> None:
    with ScriptedServer(PIPELINING | {"rcpt": "250 " + "x" * 400}) as server:
        assert talk(server, recipients=3000).report.count(b"r\0") == 3000


@pytest.mark.parametrize("verb", ["greet", "ehlo", "mail", "rcpt", "data", "final"])
def test_a_silent_server_is_given_up_after_the_timeout(verb: str) -> None:
    with ScriptedServer({verb: "!silent"}) as server:
        duplicate = b"Possible duplicate! " if verb == "final" else b""
        died = b"ZConnected to 127.0.0.1 but connection died. " + duplicate + b"(#4.4.2)\n\0"
        assert talk(server, timeout_s=0.05).report.endswith(died)


class EndlessSocket(socket.socket):
    """One end of a socket pair that always has data: the other end sends more than each read takes."""

    def recv(self, size: int, flags: int = 0) -> bytes:
        self.peer.send(b"220-and so on\r\n")
        return super().recv(10)

    peer: socket.socket


def test_a_reply_that_never_ends_is_given_up_after_the_timeout() -> None:
    ours, theirs = socket.socketpair()
    client = SmtpClient(b"127.0.0.1", b"me.test")
    client.begin(b"s@x", [b"r@y"])
    with theirs, EndlessSocket(fileno=ours.detach()) as flooded:
        flooded.peer = theirs
        flooded.setblocking(False)
        theirs.setblocking(False)
        theirs.send(b"220-hello\r\n")
        run_client(flooded, client, bytes, 0.05)
    assert client.report == b"ZConnected to 127.0.0.1 but connection died. (#4.4.2)\n\0"


def test_a_busy_server_is_left_without_quit() -> None:
    with ScriptedServer({"greet": "421 busy"}) as server:
        assert talk(server).status == TRY_NEXT
    assert server.received == [b""]


def test_a_message_that_cannot_be_read_is_deferred() -> None:
    client = SmtpClient(b"127.0.0.1", b"me.test")
    client.begin(b"s@x", [b"r@y"])

    def fail() -> bytes:
        raise OSError(errno.EIO, "broken disk")

    with ScriptedServer() as server, dial("127.0.0.1", server.port, 5.0) as sock:
        run_client(sock, client, fail, 5.0)
    assert client.status == DONE
    assert client.report == b"r\0ZUnable to read message. (#4.3.0)\n\0"


def test_a_refused_connection_is_an_error_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConnectionRefusedError) as caught:
        dial("127.0.0.1", port, 5.0)
    assert counts_as_timeout(caught.value.errno or 0)


def test_a_slow_connection_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        first = socket.create_connection(("127.0.0.1", port))
        with first, pytest.raises(TimeoutError) as caught:
            dial("127.0.0.1", port, 0.05)
    assert counts_as_timeout(caught.value.errno or 0)


@pytest.mark.parametrize(
    ("host", "ip"),
    [
        (b"192.0.2.1", "192.0.2.1"),
        (b"[192.0.2.1]", "192.0.2.1"),
        (b"[2001:DB8:0::1]", "2001:db8::1"),
        (b"[IPv6:2001:db8::1]", "2001:db8::1"),
        (b"2001:db8::1", "2001:db8::1"),
        (b"192.0.2", None),
        (b"192.0.2.256", None),
        (b"[192.0.2.1", None),
        (b"host1", None),
        (b"[]", None),
        (b"", None),
        (b"\xff:", None),
    ],
)
def test_literals_are_distinguished_from_names(host: bytes, ip: str | None) -> None:
    assert literal_address(host) == ip


def test_addresses_are_packed_with_their_family() -> None:
    assert packed_address("127.0.0.1") == (b"\x7f\0\0\1", socket.AF_INET)
    assert packed_address("::1") == (bytes(15) + b"\1", socket.AF_INET6)


def test_the_host_knows_its_own_addresses() -> None:
    assert {"127.0.0.1", "0.0.0.0", "::"} <= own_addresses()
