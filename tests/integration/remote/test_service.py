"""The remote service as a process: orders and reports over its socket, TERM, HUP, and schedulers that go away."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eqmail_core.ipc.delivery_protocol import DeliveryRequest, order, split_report
from eqmail_core.ipc.packet_socket import connect_to, listen_at, receive_packet, send_packet
from eqmail_core.outcome import NOT_DURABLE
from tests.support.scripted_server import PIPELINING, ScriptedServer

SERVICE = """
import socket, sys
from eqmail_core.remote.service import run
from eqmail_core.site.site import Site
run(Site(home=sys.argv[1], single_user=True), socket.socket(fileno=int(sys.argv[2])))
"""


class Service:
    """The service in a home of its own, and one scheduler."""

    def __init__(self, home: Path) -> None:
        self.home = home
        for folder in ("control", "bin", "queue/lock"):
            (home / folder).mkdir(parents=True)
        (home / "control/helohost").write_text("me.test\n")
        (home / "queue/lock/tcpto").write_bytes(b"\2\5" + bytes(2046))
        (home / "message").write_bytes(b"Subject: x\n\nbody\n")
        self.message = os.open(home / "message", os.O_RDONLY)
        self.path = str(home / "sock")
        with listen_at(self.path, 0o600) as listener:
            listener.set_inheritable(True)
            words = [sys.executable, "-c", SERVICE, str(home), str(listener.fileno())]
            self.process = subprocess.Popen(words, pass_fds=[listener.fileno()], stderr=subprocess.PIPE)
        self.wire = connect_to(self.path, 10.0)

    def route(self, port: int) -> None:
        (self.home / "control/smtproutes").write_text(f":127.0.0.1:{port}\n")

    def order(self, serial: int, wire: socket.socket | None = None) -> None:
        it = DeliveryRequest(serial, 1, b"", b"s@x.test", b"r%d@y.test" % serial)
        send_packet(wire or self.wire, order(it), self.message)

    def report(self) -> tuple[int, bytes, bytes]:
        packet, _ = receive_packet(self.wire)
        assert packet, "the service closed the wire"
        serial, result = split_report(packet)
        assert result.disposition != NOT_DURABLE
        return serial, result.outcome, result.text

    def end(self) -> None:
        self.wire.close()
        self.process.terminate()
        assert self.process.wait(60) == 0
        assert self.process.stderr is not None
        assert self.process.stderr.read() == b""
        self.process.stderr.close()
        os.close(self.message)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    running = Service(tmp_path / "home")
    try:
        yield running
    finally:
        running.end()


def test_orders_are_carried_out_at_the_same_time_and_reported(service: Service) -> None:
    with ScriptedServer(PIPELINING) as server:
        service.route(server.port)
        for serial in range(40):
            service.order(serial)
        reports = [service.report() for _ in range(40)]
        assert sorted(serial for serial, _, _ in reports) == list(range(40))
        assert {(letter, text) for _, letter, text in reports} == {
            (b"K", b"127.0.0.1 accepted message.\nRemote host said: 250 queued\n")
        }
        assert server.messages == 40


def test_the_table_of_slow_hosts_is_cleared_at_the_start(service: Service) -> None:
    service.route(1)
    service.order(1)
    assert service.report()[1] == b"Z"
    # The old content of the table is gone; the new failure is in it.
    table = (service.home / "queue/lock/tcpto").read_bytes()
    assert (table[1], table[16:20]) == (1, b"\x7f\0\0\1")


def test_after_term_what_runs_is_finished_and_reported(service: Service) -> None:
    with ScriptedServer(PIPELINING) as server:
        service.route(server.port)
        server.scripts = (PIPELINING | {"final": "!silent"},)
        service.order(1)
        server.wait_until_received(b"\r\n.\r\n")
        service.process.terminate()
        time.sleep(0.05)
        assert service.process.poll() is None
        server._open[0].sendall(b"250 at last\r\n")
        assert service.report() == (1, b"K", b"127.0.0.1 accepted message.\nRemote host said: 250 at last\n")
        assert service.process.wait(60) == 0


def test_deliveries_of_a_scheduler_that_went_away_are_given_up(service: Service) -> None:
    with ScriptedServer(PIPELINING | {"data": "!silent"}, PIPELINING) as server:
        service.route(server.port)
        other = connect_to(service.path, 10.0)
        service.order(7, other)
        server.wait_until_received(b"DATA\r\n")
        other.close()
        try:
            assert server._open[0].recv(1, socket.MSG_PEEK | socket.MSG_WAITALL) in (b"", b"Q")
        except ConnectionResetError:
            # The last replies were not read any more.
            pass
        service.order(1)
        assert service.report()[:2] == (1, b"K")
        assert server.messages == 1


def test_programs_before_qmail_remote_run_side_by_side(service: Service) -> None:
    bfrmt = service.home / "bin/qmail-bfrmt"
    bfrmt.write_text("#!/bin/sh\nprintf 'r\\0K%s ' $3; cat; printf '\\0'\n")
    bfrmt.chmod(0o755)
    (service.home / "control/beforemote").write_text("something\n")
    for serial in range(5):
        service.order(serial)
    reports = sorted(service.report() for _ in range(5))
    assert reports == [(serial, b"K", b"r%d@y.test Subject: x\n\nbody\n" % serial) for serial in range(5)]


def test_hup_rereads_the_settings(service: Service) -> None:
    with ScriptedServer() as server:
        service.route(1)
        service.order(1)
        assert service.report()[1] == b"Z"
        service.route(server.port)
        service.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 60
        serial = 2
        while True:
            service.order(serial)
            if service.report()[1] == b"K":
                break
            assert time.monotonic() < deadline
            serial += 1


def test_without_descriptors_the_service_waits_and_logs_once(service: Service) -> None:
    limits = resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE)
    fds = {int(name) for name in os.listdir(f"/proc/{service.process.pid}/fd")}
    none_free = next(number for number in range(len(fds) + 1) if number not in fds)
    with ScriptedServer() as server:
        service.route(server.port)
        service.order(1)
        assert service.report()[1] == b"K"
        resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, (none_free, limits[1]))
        with connect_to(service.path, 10.0) as other:
            assert service.process.stderr is not None
            assert (
                b"cannot accept connections for now: process cannot open more files"
                in service.process.stderr.readline()
            )
            resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, limits)
            service.order(2, other)
            packet, _ = receive_packet(other)
            assert split_report(packet)[1].outcome == b"K"


def test_a_request_without_a_message_is_deferred_and_malformed_input_closes_the_channel(service: Service) -> None:
    service.wire.send(order(DeliveryRequest(3, 1, b"", b"", b"r@y.test")))
    assert service.report() == (3, b"Z", b"qmail-spawn unable to open message. (#4.3.0)\n")
    with connect_to(service.path, 10.0) as other:
        other.send(b"what")
        assert receive_packet(other) == (b"", -1)
    assert service.process.stderr is not None
    assert b"no order" in service.process.stderr.readline()
