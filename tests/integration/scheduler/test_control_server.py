"""The control socket of the scheduler, with the client that programs use."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from eqmail_core.ipc import scheduler_control_protocol as wire
from eqmail_core.ipc.packet_socket import connect_to, listen_at, receive_packet, send_packet
from eqmail_core.queue.admin.actions import stamp_of
from eqmail_core.queue.admin.scheduler_client import SchedulerClient, connect_to_scheduler, scheduler_state_if_allowed
from eqmail_core.scheduler.control_server import ControlServer
from eqmail_core.site.site import Site
from tests.support.scheduler_harness import NOW, SchedulerHarness

T = TypeVar("T")


class ControlServerHarness:
    """A scheduler harness with its control server, on a loop that runs while a client is connected."""

    def __init__(self, root: Path) -> None:
        self.harness = SchedulerHarness(root)
        self.site = Site(home=str(root), single_user=True)
        os.makedirs(self.site.run)
        self.listener = listen_at(self.site.socket("send"), 0o600)
        self.loop = asyncio.new_event_loop()
        harness = self.harness
        self.server = ControlServer(
            self.loop,
            self.listener,
            harness.control,
            harness.worker,
            harness.paths.root,
            lambda: harness.scheduler.pump(harness.now),
        )

    def talk(self, act: Callable[[], T]) -> T:
        """Run `act` as a client in its own thread."""
        results: list[T] = []
        errors: list[Exception] = []

        def visit() -> None:
            try:
                results.append(act())
            except Exception as error:
                errors.append(error)
            finally:
                self.loop.call_soon_threadsafe(self.loop.stop)

        thread = threading.Thread(target=visit)
        thread.start()
        self.loop.run_forever()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    def settle(self) -> None:
        """Let the loop take note of what has happened."""
        for _ in range(5):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[ControlServerHarness]:
    it = ControlServerHarness(tmp_path)
    yield it
    it.server.end()
    it.listener.close()
    it.loop.close()


def client_of(counter: ControlServerHarness) -> SchedulerClient:
    client = connect_to_scheduler(counter.site)
    assert client is not None
    return client


def test_a_client_lists_a_large_queue(counter: ControlServerHarness) -> None:
    harness = counter.harness
    for number in range(30_000):
        harness.scheduler.enqueue(number, 1, NOW + number)
    harness.admit(50_000, b"Fs@x\0Ta@other.net\0")
    books = counter.talk(lambda: scheduler_state_if_allowed(counter.site))
    assert books is not None
    assert books.due["remote"] == {number: NOW + number for number in range(30_000)}
    assert [it.sender for it in books.memory.values()] == [b"s@x"]


def test_changes_are_answered_one_by_one(counter: ControlServerHarness) -> None:
    harness = counter.harness
    numbers = list(range(100, 160))
    for number in numbers:
        harness.old(number, b"s@x", due_s=500, remote=b"Ta@other.net\0")
    harness.scanner.find_old(NOW)
    targets = [(number, stamp_of(harness.paths, number) or b"") for number in numbers] + [(7, b"1")]

    def visit() -> tuple[dict[int, bytes], dict[str, int]]:
        client = client_of(counter)
        try:
            return dict(client.change(wire.HOLD, targets)), client.counters()
        finally:
            client.close()

    results, counters = counter.talk(visit)
    assert results == dict.fromkeys(numbers, b"done") | {7: b"gone"}
    assert counters["remote.due"] == 60
    counter.settle()
    assert harness.scheduler.channels[1].due.due_of(100) is None, "the index goes with the visitor"


def test_a_client_that_disconnects_early_breaks_no_listing(counter: ControlServerHarness) -> None:
    harness = counter.harness
    serial = harness.admit(9, b"Fs@x\0Ta@other.net\0")

    def visit() -> None:
        with connect_to(counter.site.socket("send"), 60) as sock:
            send_packet(sock, wire.change_request(wire.HOLD, [(9, b"m%d" % serial)]))
            send_packet(sock, wire.STATS)

    counter.talk(visit)
    counter.settle()
    assert harness.running == [b"a@other.net"]
    harness.written(serial, 9)
    harness.report(b"a@other.net", b"Z", b"later")
    counter.settle()
    harness.turn(100_000)
    assert harness.running == [], "it is held, although nobody waits for the answer"


@pytest.mark.parametrize("packet", [b"?", b"burn\0001 2\0", b"hold\0001\0"])
def test_malformed_input_ends_the_connection(counter: ControlServerHarness, packet: bytes) -> None:
    def visit() -> bytes:
        with connect_to(counter.site.socket("send"), 60) as sock:
            send_packet(sock, packet)
            return receive_packet(sock)[0]

    assert counter.talk(visit) == b""
    assert counter.talk(lambda: scheduler_state_if_allowed(counter.site)) is not None


def test_without_a_scheduler_there_is_no_listing(tmp_path: Path) -> None:
    site = Site(home=str(tmp_path))
    assert connect_to_scheduler(site) is None
    os.makedirs(site.run)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left_over:
        left_over.bind(site.socket("send"))
    assert scheduler_state_if_allowed(site) is None
