"""Two small clients: QMQP, and the question who runs a client."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from eqmail_core.qmtp.qmqp_client import LOST, NO_SERVERS, REFUSED, hand_over
from eqmail_core.tcpserver import environment as peer_names
from eqmail_core.tcpserver.environment import describe
from eqmail_core.tcpserver.ident import remote_user, user_in


@contextmanager
def answering(answer: bytes, size: int) -> Iterator[tuple[int, list[bytes]]]:
    """A server on a port that reads `size` bytes and answers."""
    received: list[bytes] = []

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            text = b""
            while len(text) < size:
                text += client.recv(65536)
            received.append(text)
            try:
                client.sendall(answer)
            except OSError:
                # It has read enough.
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], received
        thread.join(60)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"2:Kx,", 0),
        (b"2:Zx,", 71),
        (b"2:Dx,", 31),
        (b"", LOST),
        (b"2:?x,", LOST),
        (b"2:", LOST),
        (b":Kx,", LOST),
        (b"0:,K", LOST),
        (b"220 hello:K", LOST),
        (b"HTTP/1.0 200 OK\r\nDate:Knight", LOST),
        (b"9" * 100_000, LOST),
    ],
)
def test_the_reply_of_the_server_becomes_an_exit_code(answer: bytes, code: int) -> None:
    with answering(answer, 5) as (port, received):
        assert hand_over([b"::1", b"no.address", b"127.0.0.1"], b"12345", port) == code
    assert received == [b"12345"]


def test_an_unreachable_server_is_skipped() -> None:
    with answering(b"2:Kx,", 1) as (port, _):
        assert hand_over([b"127.0.0.1"], b"x", port) == 0
    assert hand_over([b"127.0.0.1"], b"x", port) == REFUSED
    assert hand_over([b"nonsense"], b"x", port) == NO_SERVERS


def test_ident_returns_the_user_of_the_client() -> None:
    with answering(b"4242 , 25 : USERID : UNIX : j o e\r\n", 11) as (port, received):
        user = remote_user(("127.0.0.1", 25), ("127.0.0.1", 4242), 5.0, port)
    assert user == b"joe"
    assert received == [b"4242 , 25\r\n"]


def test_an_ident_server_that_sends_slowly_times_out() -> None:
    is_over = threading.Event()

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            while not is_over.wait(0.02):
                try:
                    client.sendall(b"4")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        # A thousand bytes, the longest answer, would take twenty seconds.
        try:
            assert remote_user(("127.0.0.1", 25), ("127.0.0.1", 4242), 0.2, listener.getsockname()[1]) is None
        finally:
            is_over.set()
            thread.join(10)


@pytest.mark.parametrize("answer", [b"", b"1,2:ERROR:NO-USER\r\n", b"\n::::x"])
def test_other_ident_answers_are_ignored(answer: bytes) -> None:
    assert user_in(answer) is None


def test_both_ends_of_a_connection_are_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_names, "name_of", lambda ip: b"name.test" if ip == "127.0.0.1" else None)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        server, _ = listener.accept()
        with server:
            reported = describe(server.fileno(), None)
            assert reported[b"TCPREMOTEPORT"] == b"%d" % client.getsockname()[1]
    assert reported[b"PROTO"] == b"TCP"
    assert reported[b"TCPREMOTEIP"] == reported[b"TCPLOCALIP"] == b"127.0.0.1"
    assert reported[b"TCPREMOTEHOST"] == b"name.test"
    assert reported[b"TCPREMOTEINFO"] is None


def test_a_mapped_address_is_an_ipv4_address() -> None:
    assert peer_names.plain_address(("::ffff:192.0.2.1", 9)) == ("192.0.2.1", 9)
    assert peer_names.plain_address(("fe80::1%eth0", 9)) == ("fe80::1", 9)


def test_an_unconnected_socket_is_an_error() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(OSError, match="no TCP"):
        describe(ours.fileno(), None)
