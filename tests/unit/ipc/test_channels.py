"""One contract for both packet channels: on an event loop and on a selector."""

import asyncio
import os
import selectors
import socket
from collections.abc import Callable, Iterator

import pytest

from eqmail_core.ipc.async_channel import AsyncChannel
from eqmail_core.ipc.packet_channel import BURST, PacketChannel
from eqmail_core.ipc.packet_socket import send_packet
from eqmail_core.ipc.selector_channel import SelectorChannel

Got = list[tuple[bytes, int]]


class OnLoop:
    """An AsyncChannel, its loop, and what it delivered."""

    def __init__(self, sock: socket.socket, takes_descriptors: bool) -> None:
        self.got: Got = []
        self.on_packet: Callable[[], None] = lambda: None
        self.loop = asyncio.new_event_loop()
        self.channel = AsyncChannel(self.loop, sock, self._packet, lambda: None, takes_descriptors=takes_descriptors)

    def _packet(self, data: bytes, fd: int) -> None:
        self.got.append((data, fd))
        self.on_packet()

    def pause(self) -> None:
        self.channel.pause()

    def resume(self) -> None:
        self.channel.resume()

    def turn(self) -> None:
        """Let the loop come round once."""
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def end(self) -> None:
        self.channel.close()
        self.loop.close()


class OnSelector:
    """A SelectorChannel, its selector, and what it delivered."""

    def __init__(self, sock: socket.socket, takes_descriptors: bool) -> None:
        self.got: Got = []
        self.on_packet: Callable[[], None] = lambda: None
        self.selector = selectors.DefaultSelector()
        self.channel = SelectorChannel(self.selector, sock, self._packet, takes_descriptors)

    def _packet(self, channel: SelectorChannel, data: bytes, fd: int) -> None:
        self.got.append((data, fd))
        self.on_packet()

    def pause(self) -> None:
        self.channel.read(False)

    def resume(self) -> None:
        self.channel.read(True)

    def turn(self) -> None:
        """Handle what the selector reports now."""
        for key, events in self.selector.select(0):
            key.data(events)

    def end(self) -> None:
        self.channel.close()
        self.selector.close()


Side = OnLoop | OnSelector


@pytest.fixture
def peer() -> Iterator[list[socket.socket]]:
    pair = list(socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    yield pair
    pair[0].close()


@pytest.fixture(params=[OnLoop, OnSelector], ids=["loop", "selector"])
def side(request: pytest.FixtureRequest, peer: list[socket.socket]) -> Iterator[Side]:
    side: Side = request.param(peer[1], getattr(request.function, "takes_descriptors", False))
    yield side
    side.end()


def test_packets_arrive_in_order_a_burst_at_a_time(side: Side, peer: list[socket.socket]) -> None:
    for number in range(BURST + 5):
        peer[0].send(b"%d" % number)
    side.turn()
    assert [data for data, _ in side.got] == [b"%d" % number for number in range(BURST)]
    side.turn()
    assert len(side.got) == BURST + 5 and {fd for _, fd in side.got} == {-1}


def test_reading_stops_in_the_middle_of_a_burst_and_goes_on(side: Side, peer: list[socket.socket]) -> None:
    side.on_packet = side.pause
    for text in (b"a", b"b"):
        peer[0].send(text)
    for _ in range(3):
        side.turn()
    assert side.got == [(b"a", -1)]
    side.resume()
    side.turn()
    assert side.got == [(b"a", -1), (b"b", -1)]


def test_a_channel_closed_by_its_receiver_delivers_no_more(side: Side, peer: list[socket.socket]) -> None:
    side.on_packet = side.channel.close
    for text in (b"a", b"b"):
        peer[0].send(text)
    side.turn()
    assert side.got == [(b"a", -1)] and side.channel.closed


def test_the_end_of_the_peer_closes_after_its_last_packet(side: Side, peer: list[socket.socket]) -> None:
    peer[0].send(b"last")
    peer[0].close()
    for _ in range(3):
        side.turn()
    assert side.got == [(b"last", -1)] and side.channel.closed


def test_packets_wait_while_the_peer_does_not_read_and_arrive_in_order(side: Side, peer: list[socket.socket]) -> None:
    sent = [b"%06d" % number + b"x" * 60000 for number in range(200)]
    for packet in sent:
        side.channel.send(packet)
    got = []
    while len(got) < len(sent):
        side.turn()
        peer[0].setblocking(False)
        try:
            while True:
                got.append(peer[0].recv(70000))
        except BlockingIOError:
            pass
    assert got == sent and not side.channel.closed


def test_an_unwanted_descriptor_is_not_delivered(side: Side, peer: list[socket.socket]) -> None:
    try:
        send_packet(peer[0], b"x", 0)
    except OSError:
        pass  # this kernel refuses it for us
    side.turn()
    assert side.got == []


def test_a_wanted_descriptor_belongs_to_the_receiver(side: Side, peer: list[socket.socket]) -> None:
    reading, writing = os.pipe()
    send_packet(peer[0], b"x", writing)
    os.close(writing)
    side.turn()
    ((data, fd),) = side.got
    os.write(fd, b"through")
    os.close(fd)
    assert (data, os.read(reading, 10)) == (b"x", b"through")
    os.close(reading)


test_a_wanted_descriptor_belongs_to_the_receiver.takes_descriptors = True  # type: ignore[attr-defined]  # the fixture asks


def test_both_share_one_loop_of_reading() -> None:
    for channel in (AsyncChannel, SelectorChannel):
        assert issubclass(channel, PacketChannel) and "_receive" not in vars(channel)
