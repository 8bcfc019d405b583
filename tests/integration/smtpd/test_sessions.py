"""Sessions on an event loop: limits, time, flow control, and clients that vanish."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from eqmail_core.smtpd.server.async_session import AsyncSmtpSession
from eqmail_core.smtpd.server.message_receiver import MAX_BUFFERED_BYTES
from tests.support.smtp_servers import Home, Resident

TRANSACTION = b"MAIL FROM:<a@b>\r\nRCPT TO:<j@ours.test>\r\nDATA\r\n"


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def read_all(client: socket.socket) -> bytes:
    """Everything until the server closes."""
    everything = b""
    while data := client.recv(65536):
        everything += data
    return everything


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_too_many_clients_get_421(home: Home) -> None:
    with Resident(home, limit=1) as server, server.connect() as first:
        assert first.recv(100).startswith(b"220")
        with server.connect() as second:
            assert read_all(second) == b"421 too many connections (#4.3.2)\r\n"
        first.sendall(b"QUIT\r\n")
        assert read_all(first) == b"221 mx.test\r\n"
        until(lambda: not server.context.sessions)
        with server.connect() as third:
            assert third.recv(100).startswith(b"220")


def let_pass(session: AsyncSmtpSession, seconds: int) -> None:
    """Make it that late for a session; to be called on the loop, which may still be busy with it."""
    session.seen -= seconds
    session._context.sweep()


def test_a_silent_client_is_disconnected(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    with Resident(home, timeout_s=1) as server, server.connect() as client:
        client.recv(100)
        until(lambda: server.context.sessions)
        (session,) = server.context.sessions
        server.call(lambda: let_pass(session, 100))
        assert read_all(client) == b"451 timeout (#4.4.2)\r\n"
    assert "qmail-smtpd: timeout: (null) from 127.0.0.1 to (null) helo unknown\n" in capfd.readouterr().err


def test_a_client_whose_message_is_being_queued_is_not_late(home: Home) -> None:
    with Resident(home) as server, server.connect() as client:
        server.queue.submit = lambda *_: None  # type: ignore[method-assign, assignment]
        client.sendall(TRANSACTION + b"x\r\n.\r\n")
        until(lambda: server.context.sessions and next(iter(server.context.sessions))._core.awaited)
        (session,) = server.context.sessions
        server.call(lambda: let_pass(session, 10000))
        assert session in server.context.sessions
        assert not session._core.closed


@pytest.mark.parametrize(
    ("code", "reply"), [(31, b"554 mail server perm"), (71, b"451 mail server temp"), (53, b"451 qq")]
)
def test_the_exit_code_of_qmail_queue_decides(home: Home, code: int, reply: bytes) -> None:
    with Resident(home, code=code) as server, server.connect() as client:
        client.sendall(TRANSACTION + b"x\r\n.\r\nQUIT\r\n")
        assert reply in read_all(client)


def test_a_long_message_passes_through_in_pieces(home: Home) -> None:
    line = b"x" * 998 + b"\r\n"
    with Resident(home) as server, server.connect() as client:
        client.sendall(TRANSACTION + line * 3000 + b".\r\nQUIT\r\n")
        assert b"250 ok" in read_all(client)
        ((_, message),) = server.queued()
        assert message.split(b"\n", 2)[2] == (b"x" * 998 + b"\n") * 3000
        assert len(server.queue.pieces) > 3
        assert server.queue.pieces[0] > MAX_BUFFERED_BYTES


def test_a_client_is_held_back_by_a_slow_queue(home: Home) -> None:
    with Resident(home) as server, server.connect() as client:
        server.queue.is_slow = True
        client.sendall(TRANSACTION)
        client.settimeout(3)
        sent = 0
        with pytest.raises(TimeoutError):
            while True:
                sent += client.send(b"x" * 98 + b"\r\n" + b"y" * 65434 + b"\r\n")
        taken = sum(server.queue.pieces)
        assert taken < 1 << 20
        time.sleep(0.05)
        assert sum(server.queue.pieces) == taken
        server.queue.is_slow = False
        client.settimeout(60)
        server.call(server.queue.resume)
        until(lambda: sum(server.queue.pieces) > taken)


def test_half_a_message_is_forgotten_with_its_client(home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    with Resident(home) as server:
        with server.connect() as client:
            client.sendall(TRANSACTION + b"x" * 100000 + b"\r\n")
            until(lambda: server.queue.pieces)
        until(lambda: not server.context.sessions)
        assert server.queue.aborted == 1
        assert not server.queued()
    assert "read failed: a@b from 127.0.0.1 to j@ours.test" in capfd.readouterr().err


def test_a_client_that_closes_its_half_gets_its_answers(home: Home) -> None:
    with Resident(home) as server, server.connect() as client:
        client.sendall(TRANSACTION + b"x\r\n.\r\nQUIT\r\n")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client).endswith(b"221 mx.test\r\n")
        assert len(server.queued()) == 1


def test_a_client_that_does_not_read_is_not_read_from(home: Home) -> None:
    """Replies that the client does not read must not fill the memory."""
    home.write("smtplimits", "c\n")
    with Resident(home) as server:
        client = server.connect()
        client.settimeout(0.5)
        with client, pytest.raises(TimeoutError):
            while True:
                client.sendall(b"HELP\r\n" * 10000)


def test_pipelined_commands_wait_for_the_queue(home: Home) -> None:
    with Resident(home) as server, server.connect() as client:
        client.sendall((TRANSACTION + b"x\r\n.\r\n") * 20 + b"QUIT\r\n")
        assert read_all(client).count(b" qp ") == 20
        assert len(server.queued()) == 20


def test_the_client_s_address_is_in_the_header_and_may_allow_relaying(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", relayclients="127.0.0.0/8\n")
    with Resident(home) as server, server.connect() as client:
        client.sendall(b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<x@foreign>\r\nDATA\r\n.\r\nQUIT\r\n")
        read_all(client)
        ((envelope, message),) = server.queued()
    assert envelope == b"F\0Tx@foreign\0\0W A:127.0.0.1\0"
    assert message.startswith(b"Received: from unknown (HELO me) (127.0.0.1)\n  by mx.test with ESMTP; ")


def test_retiring_waits_for_a_transaction_and_for_nothing_else(home: Home) -> None:
    with Resident(home) as server, server.connect() as busy, server.connect() as idle:
        idle.recv(100)
        busy.sendall(TRANSACTION)
        until(lambda: any(session._core.in_body for session in server.context.sessions))
        server.call(server.context.close_when_idle)
        assert read_all(idle) == b"421 shutting down (#4.3.2)\r\n"
        busy.sendall(b"x\r\n.\r\n")
        assert read_all(busy).endswith(b" qp 42\r\n421 shutting down (#4.3.2)\r\n")
        assert len(server.queued()) == 1


def test_a_refusal_in_the_middle_is_reported_at_the_end(home: Home) -> None:
    """The queue may refuse a long message before it is whole; the rest is read and thrown away."""
    with Resident(home) as server, server.connect() as client:
        opened = server.queue.open_long

        def refuse(done: Callable[[int, int, int, int], None], on_ready: Callable[[], None]) -> object:
            server.loop.call_soon(done, 53, 0, 0, 0)
            return opened(done, on_ready)

        server.queue.open_long = refuse  # type: ignore[method-assign, assignment]
        client.sendall(TRANSACTION + b"x" * 100000 + b"\r\n")
        until(lambda: server.queue.pieces)
        client.sendall(b"y" * 300000 + b"\r\n.\r\nQUIT\r\n")
        assert b"451 qq write error" in read_all(client)
        assert sum(server.queue.pieces) < 300000


@pytest.mark.parametrize("again", [b"EHLO x", b"HELO x"])
def test_a_message_in_chunks_ends_unqueued_when_its_client_begins_anew(home: Home, again: bytes) -> None:
    home.write("chunking", "1\n")
    chunk = b"x" * 70_000 + b"\r\n"
    begun = b"MAIL FROM:<a@b>\r\nRCPT TO:<j@ours.test>\r\nBDAT %d\r\n%b" % (len(chunk), chunk)
    with Resident(home) as server, server.connect() as client:
        client.sendall(begun + again + b"\r\n" + TRANSACTION + b"y\r\n.\r\nQUIT\r\n")
        assert b"250 ok " in read_all(client)
        assert server.queue.aborted == 1
        assert [message.endswith(b"\ny\n") for _, message in server.queued()] == [True]


def test_no_line_of_the_trace_is_too_long(home: Home) -> None:
    with Resident(home) as server, server.connect() as client:
        client.sendall(b"EHLO " + b"x" * 2000 + b"\r\n" + TRANSACTION + b"y\r\n.\r\nQUIT\r\n")
        assert b"250 ok " in read_all(client)
        ((_, message),) = server.queued()
        assert max(map(len, message.split(b"\n"))) <= 998
