"""The link to a queue service that is missing or dies."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eqmail_core.ipc import submission_protocol as wire
from eqmail_core.ipc.packet_socket import listen_at
from eqmail_core.mail.envelope import Envelope
from eqmail_core.queue.client.async_service import AsyncQueueClient

ENVELOPE = Envelope(b"s@x", [b"r@x"]).render()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def until(loop: asyncio.AbstractEventLoop, condition: Callable[[], object]) -> None:
    async def wait() -> None:
        while not condition():
            await asyncio.sleep(0.001)

    loop.run_until_complete(asyncio.wait_for(wait(), 10))


def test_without_a_service_the_answer_is_71_and_comes_later(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    codes: list[int] = []
    link = AsyncQueueClient(loop, str(tmp_path / "none"))
    link.submit(ENVELOPE, b"m\n", lambda code, *_: codes.append(code))
    long = link.open_long(lambda code, *_: codes.append(code), lambda: None)
    assert codes == []
    until(loop, lambda: len(codes) == 2)
    assert codes == [71, 71]
    assert long.write(b"ignored")


def test_a_service_that_dies_answers_74_for_all_and_the_link_comes_back(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    path = str(tmp_path / "queue.sock")
    listener = listen_at(path, 0o600)
    link, codes = AsyncQueueClient(loop, path), []
    for _ in range(3):
        link.submit(ENVELOPE, b"m\n", lambda code, *_: codes.append(code))
    peer, _ = listener.accept()
    assert wire.split_whole(peer.recv(1000))[1] == ENVELOPE
    peer.close()
    until(loop, lambda: len(codes) == 3)
    assert codes == [74] * 3
    link.submit(ENVELOPE, b"m\n", lambda code, *_: codes.append(code))
    peer, _ = listener.accept()
    tag = wire.split_whole(peer.recv(1000))[0]
    peer.send(wire.result(tag, 0, 1, 2, 3))
    until(loop, lambda: len(codes) == 4)
    assert codes[3] == 0 and link.outstanding == 0
    link.close()
    peer.close()
    listener.close()


def test_a_long_message_is_held_back_until_the_service_takes_it(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    path = str(tmp_path / "queue.sock")
    listener = listen_at(path, 0o600)
    ready: list[int] = []
    codes: list[int] = []
    long = AsyncQueueClient(loop, path).open_long(lambda code, *_: codes.append(code), lambda: ready.append(1))
    peer, _ = listener.accept()
    sent = 0
    while long.write(b"x" * 60000):
        sent += 1
        assert sent < 1000
    assert ready == []
    peer.setblocking(False)

    def drained() -> bool:
        try:
            while peer.recv(100_000):
                pass
        except BlockingIOError:
            pass
        return bool(ready)

    until(loop, drained)
    peer.close()
    until(loop, lambda: codes)
    assert codes == [74]
    listener.close()
