"""Sessions on an event loop, and those that are kept for a while."""

import asyncio
import errno
import socket
from collections.abc import Callable, Coroutine
from typing import TypeVar

import pytest

from eqmail_core.smtp.async_client import ClientConnection, ConnectionTimer
from eqmail_core.smtp.client import SmtpClient
from eqmail_core.smtp.connection_cache import ConnectionCache
from eqmail_core.smtp.exchange import TRY_NEXT
from tests.support.partial_socket import PartialSocket
from tests.support.scripted_server import PIPELINING, EarlyRefusalServer, Script, ScriptedServer

Result = TypeVar("Result")
ACCEPTED = b"r\0K127.0.0.1 accepted message.\nRemote host said: 250 queued\n\0"


def reading(message: bytes, piece: int = 65536) -> Callable[[], bytes]:
    pieces = [message[start : start + piece] for start in range(0, len(message), piece)]
    return lambda: pieces.pop(0) if pieces else b""


async def open_session(watch: ConnectionTimer, port: int, keep: bool = False) -> ClientConnection:
    session = ClientConnection(watch, "127.0.0.1", SmtpClient(b"127.0.0.1", b"me.test", keep=keep))
    assert await session.dial(port, 60.0) == 0
    return session


async def carry(session: ClientConnection, message: bytes = b"a\n", timeout_s: float = 60.0) -> bytes:
    assert await session.send_message(b"s@x", [b"r@y"], reading(message), timeout_s) == 0
    return session.client.report


def run(scenario: Callable[[ConnectionTimer], Coroutine[None, None, Result]]) -> Result:
    """Run a play with a quick watch; no session may be left over."""

    async def whole() -> Result:
        watch = ConnectionTimer(asyncio.get_running_loop(), tick_s=0.02)
        try:
            return await scenario(watch)
        finally:
            watch.close()
            assert not watch.sessions

    return asyncio.run(whole())


@pytest.mark.parametrize("script", [{}, PIPELINING])
def test_a_message_is_delivered_and_the_connection_closed(script: Script) -> None:
    async def scenario(watch: ConnectionTimer) -> bytes:
        session = await open_session(watch, server.port)
        report = await carry(session)
        assert not session.is_open
        return report

    with ScriptedServer(script) as server:
        assert run(scenario) == ACCEPTED
        server.wait_until_received(b"QUIT\r\n")


@pytest.mark.parametrize("size", [1, 7, 5000])
def test_every_byte_arrives_once_when_the_socket_takes_only_some(size: int) -> None:
    message = b"".join(b".%07d\n" % number for number in range(300 * size))
    stingy: list[PartialSocket] = []

    async def scenario(watch: ConnectionTimer) -> bytes:
        session = await open_session(watch, server.port)
        stingy.append(PartialSocket(session._sock, size))
        session._sock = stingy[0]
        return await carry(session, message, 30.0)

    with ScriptedServer(PIPELINING) as server:
        assert run(scenario) == ACCEPTED
        server.wait_until_received(b".\r\n", seconds=30)
    content = server.received[0].partition(b"DATA\r\n")[2].partition(b"\r\n.\r\n")[0] + b"\r\n"
    assert content == message.replace(b".", b"..").replace(b"\n", b"\r\n")
    assert stingy[0].partial > 100
    assert stingy[0].refused > 100


def test_the_reply_before_a_disconnect_within_the_message_counts() -> None:
    async def scenario(watch: ConnectionTimer) -> bytes:
        return await carry(await open_session(watch, server.port), b"a line of many\n" * 500_000, 30.0)

    for _ in range(5):
        with EarlyRefusalServer() as server:
            text = b"D127.0.0.1 failed after I sent the message.\nRemote host said: 552 too large\n\0"
            assert run(scenario) == b"r\0" + text


@pytest.mark.parametrize("verb", ["greet", "mail", "final"])
def test_a_silent_server_is_given_up(verb: str) -> None:
    async def scenario(watch: ConnectionTimer) -> bytes:
        return await carry(await open_session(watch, server.port), timeout_s=0.05)

    with ScriptedServer({verb: "!silent"}) as server:
        assert b"but connection died." in run(scenario)


def test_a_connection_that_cannot_be_made_is_an_error_number() -> None:
    async def scenario(watch: ConnectionTimer) -> int:
        return await ClientConnection(watch, "127.0.0.1", SmtpClient(b"127.0.0.1", b"me.test")).dial(port, 60.0)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert run(scenario) == errno.ECONNREFUSED


def test_a_connection_that_takes_too_long_is_a_timeout() -> None:
    async def scenario(watch: ConnectionTimer) -> int:
        return await ClientConnection(watch, "127.0.0.1", SmtpClient(b"127.0.0.1", b"me.test")).dial(port, 0.05)

    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            assert run(scenario) == errno.ETIMEDOUT


def test_a_busy_server_leaves_nothing_open() -> None:
    async def scenario(watch: ConnectionTimer) -> int:
        session = await open_session(watch, server.port)
        await carry(session)
        assert not session.is_open
        return session.client.status

    with ScriptedServer({"greet": "421 busy"}) as server:
        assert run(scenario) == TRY_NEXT


def test_a_cancelled_delivery_can_close_its_session() -> None:
    async def scenario(watch: ConnectionTimer) -> None:
        session = await open_session(watch, server.port)
        task = asyncio.ensure_future(carry(session))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        session.close()

    with ScriptedServer({"mail": "!silent"}) as server:
        run(scenario)


def test_a_kept_session_sends_more_and_quits_after_its_time() -> None:
    async def scenario(watch: ConnectionTimer) -> None:
        idle = ConnectionCache(limit=1)
        session = await open_session(watch, server.port, keep=True)
        for number in range(3):
            assert await carry(session) == ACCEPTED
            assert session.carried == number + 1
            idle.put("key", session, watch.loop.time() + (60.0 if number < 2 else 0.05))
            assert idle.take("other") is None
            if number < 2:
                assert idle.take("key") is session
        while session.is_open:
            await asyncio.sleep(0.01)
        assert idle.take("key") is None
        assert len(idle) == 0

    with ScriptedServer(PIPELINING) as server:
        run(scenario)
        server.wait_until_received(b"QUIT\r\n")
        assert server.messages == 3
        assert len(server.received) == 1
    assert server.received[0].count(b"EHLO") == 1


def test_a_kept_session_whose_server_leaves_is_forgotten() -> None:
    async def scenario(watch: ConnectionTimer) -> None:
        idle = ConnectionCache(limit=5)
        session = await open_session(watch, server.port, keep=True)
        await carry(session)
        idle.put("key", session, watch.loop.time() + 60)
        server._open[0].sendall(b"421 too long\r\n")
        while session.is_open:
            await asyncio.sleep(0.005)
        assert len(idle) == 0

    with ScriptedServer(PIPELINING) as server:
        run(scenario)


def test_only_so_many_sessions_are_kept() -> None:
    async def scenario(watch: ConnectionTimer) -> list[bool]:
        idle = ConnectionCache(limit=2)
        sessions = [await open_session(watch, server.port, keep=True) for _ in range(3)]
        for session in sessions:
            await carry(session)
            idle.put("key", session, watch.loop.time() + 60)
        assert idle.take("key") is sessions[1]
        return [session.is_open for session in sessions]

    with ScriptedServer(PIPELINING) as server:
        assert run(scenario) == [True, True, False]
