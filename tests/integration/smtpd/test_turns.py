"""One client that talks without end: the others have their turn, and what it does not read is not made."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from eqmail_core.smtpd.protocol.session_streams import TURN
from eqmail_core.smtpd.server.async_session import AsyncSmtpSession
from tests.support.smtp_servers import Home, Resident, blocking_server

HIGH_WATER = 65536


class SlowReader(asyncio.Transport):
    """A connection whose client takes `takes` bytes; what is beyond waits, and pauses the writer as asyncio does."""

    def __init__(self, takes: int = 1 << 30) -> None:
        super().__init__()
        self.takes = takes
        self.written = b""
        self.is_reading = True
        self.closed = False
        self.session: AsyncSmtpSession | None = None

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.written += data
        if len(self.written) - self.takes > HIGH_WATER and self.session is not None:
            self.session.pause_writing()

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("192.0.2.1", 4711)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Resident]:
    resident = Resident(Home(tmp_path / "home", smtplimits="c\n", chunking="1\n"))
    try:
        yield resident
    finally:
        resident.context.write_log()
        resident.loop.close()
        resident.listener.close()


def begin(server: Resident, transport: SlowReader) -> AsyncSmtpSession:
    session = AsyncSmtpSession(server.context)
    session.connection_made(transport)
    transport.session = session
    transport.written = b""
    return session


def one_turn(server: Resident) -> None:
    """Let the loop come round once."""
    server.loop.call_soon(server.loop.stop)
    server.loop.run_forever()


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"NOOP\r\n", b"250 ok\r\n"),
        (b"\n", b"500 "),
        (b"RSET\r\n", b"250 flushed"),
        (b"BDAT 1\r\nx", b"503 MAIL first"),
    ],
)
def test_a_client_that_sends_all_at_once_has_a_turn_as_others_have(
    server: Resident, line: bytes, answer: bytes
) -> None:
    transport = SlowReader()
    session = begin(server, transport)
    session.data_received(line * (3 * TURN))
    first = transport.written.count(answer)
    assert 0 < first <= TURN
    assert not transport.is_reading
    one_turn(server)
    assert first < transport.written.count(answer) <= 2 * TURN
    for _ in range(10):
        one_turn(server)
    assert transport.written.count(answer) == 3 * TURN
    assert transport.is_reading


def test_what_the_client_does_not_read_is_not_made(server: Resident) -> None:
    transport = SlowReader(takes=0)
    session = begin(server, transport)
    session.data_received(b"EHLO x\r\n" * 30_000)
    for _ in range(400):
        one_turn(server)
    made = len(transport.written)
    assert made < 4 * HIGH_WATER
    assert not transport.is_reading
    transport.takes = 1 << 30
    session.resume_writing()
    for _ in range(400):
        one_turn(server)
    assert transport.written.count(b"250-PIPELINING") == 30_000
    assert transport.is_reading


def test_the_last_commands_of_a_disconnected_client_are_processed(server: Resident) -> None:
    transport = SlowReader()
    session = begin(server, transport)
    session.data_received(b"NOOP\r\n" * (2 * TURN) + b"QUIT\r\n")
    assert session.eof_received()
    for _ in range(10):
        one_turn(server)
    assert transport.written.endswith(b"221 mx.test\r\n")
    assert transport.closed


def test_an_empty_chunk_at_the_end_of_a_turn_ends_its_message(server: Resident) -> None:
    transport = SlowReader()
    session = begin(server, transport)
    session.data_received(b"NOOP\r\n" * (TURN - 3) + b"MAIL FROM:<>\r\nRCPT TO:<a@ours.test>\r\nBDAT 0 LAST\r\n")
    for _ in range(5):
        one_turn(server)
    assert b"250 ok " in transport.written
    assert len(server.queue.messages) == 1


def test_a_process_of_one_client_answers_all_that_came_at_once(tmp_path: Path) -> None:
    with blocking_server(Home(tmp_path / "home", smtplimits="c\n")) as (client, _):
        client.sendall(b"NOOP\r\n" * 1000 + b"QUIT\r\n")
        replies = b""
        deadline = time.monotonic() + 60
        while not replies.endswith(b"221 mx.test\r\n") and time.monotonic() < deadline:
            replies += client.recv(65536)
        assert replies.count(b"250 ok") == 1000


def test_limits_unknown_to_c_apply_by_default(tmp_path: Path) -> None:
    for number, (text, words) in enumerate([("bounded\n", b"421 too many commands"), ("c\n", b"221 mx.test")]):
        home = Home(tmp_path / f"home{number}", smtplimits=text)
        with Resident(home) as server, server.connect() as client:
            client.sendall(b"NOOP\r\n" * 1001 + b"QUIT\r\n")
            replies = b""
            while data := cast(bytes, client.recv(65536)):
                replies += data
            assert words in replies
