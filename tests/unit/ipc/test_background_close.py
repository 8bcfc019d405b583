"""Received descriptors: refused where unexpected, and closed in the background."""

import array
import os
import selectors
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eqmail_core.event_loop.event_loop import new_event_loop
from eqmail_core.ipc import background_close as closing
from eqmail_core.ipc import packet_socket as sockets
from eqmail_core.ipc.async_channel import AsyncChannel
from eqmail_core.ipc.background_close import close_aside, close_received
from eqmail_core.ipc.packet_socket import connect_to, hang_up, listen_at, refuse_descriptors
from eqmail_core.ipc.selector_channel import SelectorChannel

WAIT_S = 20.0


def refuses() -> bool:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, other:
        return refuse_descriptors(one)


@pytest.fixture
def lingering() -> Iterator[socket.socket]:
    """A TCP connection whose last close waits for a minute: its buffer is full and unread."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
    ours.setblocking(False)
    try:
        while True:
            ours.send(bytes(1 << 16))
    except BlockingIOError:
        pass
    yield ours
    ours.close()
    theirs.close()


def send(sock: socket.socket, data: bytes, fds: list[int]) -> None:
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])


def wait_until_closed(fd: int) -> None:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            os.fstat(fd)
        except OSError:
            return
        time.sleep(0.001)
    raise AssertionError(f"descriptor {fd} is still open")


def test_a_lingering_socket_is_closed_in_a_thread(lingering: socket.socket) -> None:
    fd = lingering.detach()
    close_aside(fd)
    wait_until_closed(fd)


def test_a_file_is_closed_at_once_and_anything_else_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside: list[int] = []
    monkeypatch.setattr(closing, "close_aside", aside.append)
    message = os.open(tmp_path / "message", os.O_RDWR | os.O_CREAT)
    close_received(message)
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(message)
    reading, writing = os.pipe()
    close_received(reading)
    assert aside == [reading]
    os.close(reading)
    os.close(writing)


def test_more_closes_than_threads_are_all_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "MAX_THREADS", 2)
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(50)]
    for fd in fds:
        close_aside(fd)
    for fd in fds:
        wait_until_closed(fd)


@pytest.mark.skipif(not refuses(), reason="the kernel cannot refuse descriptors")
def test_the_kernel_refuses_unexpected_descriptors(tmp_path: Path) -> None:
    with (
        listen_at(f"{tmp_path}/sock", 0o600, refuses_descriptors=True) as listener,
        connect_to(f"{tmp_path}/sock") as it,
    ):
        with pytest.raises(PermissionError):
            send(it, b"before accept", [0])
        sock, _ = listener.accept()
        with sock:
            with pytest.raises(PermissionError):
                send(it, b"afterwards", [0])
            it.send(b"without")
            assert sock.recv(100) == b"without"


# A kernel that cannot refuse them.


@pytest.fixture
def old_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "_SO_PASSRIGHTS", 9999)


def test_a_channel_disconnects_a_peer_that_sends_descriptors(old_kernel: None, lingering: socket.socket) -> None:
    loop = new_event_loop()
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    got: list[bytes] = []
    channel = AsyncChannel(loop, one, lambda packet, fd: got.append(packet), loop.stop)
    send(other, b"take these", [lingering.fileno()] * 253)
    lingering.close()
    loop.run_forever()
    assert channel.closed and not got
    other.setblocking(True)
    other.settimeout(WAIT_S)
    assert other.recv(10) == b""
    other.close()
    loop.close()


def test_closing_a_channel_does_not_wait_for_unread_data(old_kernel: None, lingering: socket.socket) -> None:
    loop = new_event_loop()
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = AsyncChannel(loop, one, lambda packet, fd: None, lambda: None)
    for _ in range(3):
        send(other, b"unread", [lingering.fileno()])
    lingering.close()
    channel.close()
    assert channel.closed
    other.close()
    loop.close()


def test_a_selector_channel_disconnects_a_peer_that_sends_descriptors(
    old_kernel: None, lingering: socket.socket
) -> None:
    with selectors.DefaultSelector() as selector:
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        got: list[bytes] = []
        line = SelectorChannel(selector, one, lambda channel, packet, fd: got.append(packet))
        send(other, b"take these", [lingering.fileno(), 0])
        lingering.close()
        for key, events in selector.select(WAIT_S):
            key.data(events)
        assert line.closed and not got
        other.close()


def test_closing_a_rejected_peer_never_blocks(old_kernel: None, lingering: socket.socket) -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    send(other, b"unread", [lingering.fileno()])
    lingering.close()
    hang_up(one)
    other.close()


def test_a_channel_that_pauses_takes_nothing_more() -> None:
    loop = new_event_loop()
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    got: list[bytes] = []

    def take(packet: bytes, fd: int) -> None:
        got.append(packet)
        channel.pause()
        loop.call_soon(loop.stop)

    channel = AsyncChannel(loop, one, take, lambda: None)
    for _ in range(5):
        other.send(b"packet")
    loop.run_forever()
    assert got == [b"packet"]
    channel.close()
    other.close()
    loop.close()
