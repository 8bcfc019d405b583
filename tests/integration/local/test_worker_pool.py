"""The spawner's table of workers: who delivers for whom, who stays, who goes."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eqmail_core.ipc.packet_socket import PACKET, receive_descriptors
from eqmail_core.local.service import protocol as wire
from eqmail_core.local.service import worker as worker_module
from eqmail_core.local.service import worker_pool as crew_module
from eqmail_core.local.service import worker_process as agent_module
from eqmail_core.local.service.protocol import AgentOrder
from eqmail_core.local.service.worker import WorkerHandle
from eqmail_core.local.service.worker_pool import WorkerPool
from eqmail_core.outcome import NOT_DURABLE, DeliveryResult
from eqmail_core.site.site import Site
from eqmail_core.users.user import User


class WatchedPool:
    """A pool whose workers serve their users without changing to them."""

    def __init__(self, home: Path) -> None:
        self.hired: list[WorkerHandle] = []
        self.gone: list[WorkerHandle] = []
        site = Site(home=str(home), single_user=True)
        self.pool = WorkerPool(site, b"./Maildir/", {}, self.hired.append, self.gone.append, with_carrier=True)


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WatchedPool]:
    monkeypatch.setattr(crew_module, "RESIDENT", 2)
    monkeypatch.setattr(crew_module, "RETIRED_AFTER", 3)

    def until_the_end(sock: socket.socket) -> int:
        while sock.recv(65536):
            pass
        return 0

    monkeypatch.setattr(agent_module, "run", lambda *_args: until_the_end(_args[-1]))
    monkeypatch.setattr(agent_module, "run_carrier", lambda *_args: until_the_end(_args[-1]))
    it = WatchedPool(tmp_path)
    yield it
    for worker in it.hired:
        if worker not in it.gone:
            worker.close()
        try:
            os.waitpid(worker.pid, 0)
        except ChildProcessError:
            pass


def user(uid: int, name: bytes = b"x") -> User:
    return User(name, uid, uid, b"/", b"", b"")


def order(number: int, uid: int = 1) -> AgentOrder:
    return AgentOrder(number, b"", b"x", b"h", b"", user(uid), os.open("/dev/null", os.O_RDONLY))


def test_the_least_recently_used_idle_agent_makes_room(watched: WatchedPool) -> None:
    pool = watched.pool
    a, b = pool.agent_for(user(1)), pool.agent_for(user(2))
    assert pool.agent_for(user(1)) is a
    pool.agent_for(user(3))
    assert watched.gone == [b]


def test_names_of_one_account_share_an_agent(watched: WatchedPool) -> None:
    assert watched.pool.agent_for(user(1, b"ann")) is watched.pool.agent_for(user(1, b"bob"))


def test_a_busy_agent_stays_even_in_a_full_pool(watched: WatchedPool) -> None:
    for uid in (1, 2, 3):
        watched.pool.agent_for(user(uid)).accept(order(uid, uid))
    assert not watched.gone


def test_an_agent_retires_after_many_orders_and_leaves_when_idle(watched: WatchedPool) -> None:
    pool = watched.pool
    old = pool.agent_for(user(1))
    for number in range(3):
        old.accept(order(number))
    assert pool.agent_for(user(1)) is not old
    pool.expire()
    assert not watched.gone
    old.taken.clear()
    pool.expire()
    assert watched.gone == [old]


def test_an_idle_agent_ends(watched: WatchedPool, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = watched.pool.agent_for(user(1))
    watched.pool.expire()
    assert not watched.gone
    monkeypatch.setattr(crew_module, "IDLE_S", 0.0)
    watched.pool.expire()
    assert watched.gone == [agent]


def test_the_carrier_delivers_for_all_users_without_an_agent(watched: WatchedPool) -> None:
    pool = watched.pool
    carrier = pool.worker_for(user(1))
    assert carrier.is_shared and pool.worker_for(user(2)) is carrier
    agent = pool.agent_for(user(2))
    assert not agent.is_shared and pool.worker_for(user(2)) is agent
    assert pool.worker_for(user(1)) is carrier


def test_a_carrier_retires_too(watched: WatchedPool) -> None:
    pool = watched.pool
    carrier = pool.worker_for(user(1))
    for number in range(3):
        carrier.accept(order(number))
    assert pool.worker_for(user(1)) is not carrier
    for number in range(3):
        os.close(carrier.hand_back(number).fd)
    pool.expire()
    assert watched.gone == [carrier]


def test_a_silent_carrier_is_replaced_and_its_users_get_agents(
    watched: WatchedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = watched.pool
    carrier = pool.worker_for(user(1))
    carrier.accept(order(1, uid=1))
    carrier.ask(2, user(2))
    assert pool.silent() == []
    monkeypatch.setattr(crew_module, "SILENCE_S", -1.0)
    assert pool.silent() == [carrier]
    pool.kill(carrier)
    assert watched.gone == [carrier]
    assert not pool.worker_for(user(1)).is_shared and not pool.worker_for(user(2)).is_shared
    another = pool.worker_for(user(3))
    assert another.is_shared and another is not carrier
    later = time.monotonic() + crew_module.SLOW_S + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    pool.expire()
    assert pool.worker_for(user(1)).is_shared
    os.close(carrier.hand_back(1).fd)


def test_a_user_who_delays_the_carrier_gets_an_agent_for_a_while(
    watched: WatchedPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = watched.pool
    assert pool.worker_for(user(1)).is_shared
    pool.keep_from_carrier(user(1))
    assert not pool.worker_for(user(1)).is_shared and pool.worker_for(user(2)).is_shared
    monkeypatch.setattr(crew_module, "IDLE_S", -1.0)
    pool.expire()
    assert not pool.worker_for(user(1)).is_shared


def test_carriers_that_cannot_be_killed_are_few(watched: WatchedPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_module, "HUNG", 1)
    monkeypatch.setattr(crew_module, "has_ended", lambda _pid: False)
    pool = watched.pool
    pool.kill(pool.worker_for(user(1)))
    pool.expire()
    assert not pool.worker_for(user(2)).is_shared


def test_an_agent_that_reports_foreign_requests_is_ended(watched: WatchedPool) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    worker = WorkerHandle(os.getpid(), ours)
    worker.accept(order(1))
    for output in (
        wire.report(2, DeliveryResult(b"K", b"")),
        wire.hand_back(1),
        wire.hand_back(1, is_slow=True),
        wire.durable(1),
    ):
        theirs.send(output)
        with pytest.raises(ValueError, match="which is not its"):
            worker.reports()
    theirs.send(wire.report(1, DeliveryResult(b"K", b"", NOT_DURABLE)))
    assert worker.reports() == [(1, DeliveryResult(b"K", b"", NOT_DURABLE))] and worker.not_durable == {1}
    worker.close()
    theirs.close()


class Peer:
    """A worker, and the end of its socket where its process would be."""

    def __init__(self, at_once: int) -> None:
        ours, self.sock = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self.sock.setblocking(False)
        self.worker = WorkerHandle(os.getpid(), ours, at_once=at_once)

    def orders(self) -> list[int]:
        """The orders that have come."""
        found = []
        try:
            while True:
                packet, fds = receive_descriptors(self.sock, wire.MAX_ORDERS)
                found += [it.number for it in wire.split_orders(packet, fds)]
                for fd in fds:
                    os.close(fd)
        except BlockingIOError:
            return found

    def close(self) -> None:
        self.worker.close()
        self.sock.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    it = Peer(at_once=2)
    yield it
    it.close()


def test_an_account_has_a_bounded_number_of_orders_at_a_time(peer: Peer) -> None:
    for number in (1, 2, 3):
        peer.worker.accept(order(number))
    assert peer.worker.push() and peer.orders() == [1, 2]
    peer.sock.send(wire.report(1, DeliveryResult(b"K", b"")))
    peer.worker.reports()
    assert peer.worker.push() and peer.orders() == [3]


def test_orders_that_wait_too_long_for_their_account_give_up_their_places(peer: Peer) -> None:
    for number in (1, 2, 3):
        peer.worker.accept(order(number))
    peer.worker.push()
    now = time.monotonic()
    assert peer.worker.take_overdue(now) == [] and not peer.worker.is_full(now)
    (late,) = peer.worker.take_overdue(now + worker_module.WAIT_S + 1)
    os.close(late.fd)
    assert late.number == 3 and list(peer.worker.taken) == [1, 2]
    now += worker_module.WAIT_S + 1
    assert peer.worker.is_full(now + worker_module.CROWDED_S - 1)
    assert not peer.worker.is_full(now + worker_module.CROWDED_S + 1)
    peer.sock.send(wire.report(1, DeliveryResult(b"K", b"")))
    peer.worker.reports()
    assert not peer.worker.is_full(now)


def test_an_agent_is_pinged_once_and_only_with_work_pending(peer: Peer) -> None:
    peer.worker.probe()
    with pytest.raises(BlockingIOError):
        peer.sock.recv(100)
    peer.worker.ask(1, user(1))
    peer.worker.push()
    assert peer.sock.recv(100).startswith(b"?")
    for _ in range(2):
        peer.worker.probe()
    assert peer.sock.recv(100) == wire.PROBE
    with pytest.raises(BlockingIOError):
        peer.sock.recv(100)
    silent = peer.worker.silent_s(time.monotonic() + 100)
    peer.sock.send(wire.PRESENT)
    assert peer.worker.reports() == [] and peer.worker.silent_s(time.monotonic() + 100) <= silent
    peer.worker.probe()
    assert peer.sock.recv(100) == wire.PROBE


def test_a_silent_agent_is_detected(watched: WatchedPool, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = watched.pool.agent_for(user(1))
    agent.ask(1, user(1))
    assert watched.pool.silent() == []
    monkeypatch.setattr(crew_module, "AGENT_SILENCE_S", -1.0)
    assert watched.pool.silent() == [agent]
    watched.pool.kill(agent)
    assert watched.gone == [agent] and watched.pool.agent_for(user(1)) is not agent


@pytest.mark.parametrize("output", [b"", b"1", b"9K", b"1X", b"0Z", b"0D", b"KK", b"A", b"K"])
def test_a_malformed_report_ends_the_agent(peer: Peer, output: bytes) -> None:
    peer.worker.accept(order(1))
    peer.worker.push()
    peer.sock.send(b"1\0" + output + b"\0")
    with pytest.raises(ValueError, match="which is not its"):
        peer.worker.reports()


def test_many_lookups_take_several_packets(peer: Peer) -> None:
    long = User(b"x", 1, 1, b"/" * 4000, b"-", b"x" * 1800)
    for number in range(1, 65):
        peer.worker.ask(number, long)
    asked: list[int] = []
    while len(asked) < 64:
        peer.worker.push()
        packet = peer.sock.recv(PACKET)
        assert len(packet) < PACKET
        asked += [number for number, _ in wire.split_questions(packet)]
    assert asked == list(range(1, 65))
