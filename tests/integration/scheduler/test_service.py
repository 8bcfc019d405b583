"""The resident scheduler as a process, between a queue service and a spawner that are played by the test."""

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eqmail_core.ipc import admission_protocol as admission
from eqmail_core.ipc import delivery_protocol as delivery
from eqmail_core.ipc import submission_protocol as queue_wire
from eqmail_core.ipc.packet_socket import listen_at, receive_packet, send_packet
from eqmail_core.outcome import NOT_DURABLE, DeliveryResult
from eqmail_core.queue.format.channels import LOCAL, REMOTE
from eqmail_core.scheduler.retry_schedule import next_retry
from eqmail_core.site.site import Site

ROOT = Path(__file__).resolve().parents[3]
TIMEOUT_S = 60.0
BIRTH = int(time.time())


class Peer:
    """The other end of a wire."""

    def __init__(self, listener: socket.socket) -> None:
        listener.settimeout(TIMEOUT_S)
        self.sock, _ = listener.accept()
        self.sock.settimeout(TIMEOUT_S)

    def receive(self) -> tuple[bytes, int]:
        packet, fd = receive_packet(self.sock)
        assert packet, "the scheduler has hung up"
        return packet, fd

    def kind(self, kind: bytes) -> tuple[int, ...]:
        packet, _ = self.receive()
        assert packet[:1] == kind
        return admission.split_serials(packet)

    def send(self, packet: bytes, fd: int = -1) -> None:
        send_packet(self.sock, packet, fd)


class ServiceHarness:
    """A home, the listeners, and the process under test."""

    def __init__(self, home: Path) -> None:
        self.site = Site(home=str(home), single_user=True)
        queue = self.site.queue
        folders = [*queue.info_dirs(), *queue.mess_dirs(), *queue.todo_dirs(), *queue.intd_dirs(), queue.lock]
        folders += [f"{queue.root}/{name}/{part}" for name in ("local", "remote") for part in range(queue.split)]
        for folder in (*folders, f"{queue.root}/bounce", self.site.control, self.site.run):
            os.makedirs(folder)
        Path(queue.sendmutex).touch()
        os.mkfifo(queue.trigger)
        Path(self.site.control, "me").write_text("example.org\n")
        self.log_path = home / "log"
        self.queue_end = listen_at(self.site.socket("queue"), 0o600)
        self.local_end = listen_at(self.site.socket("local"), 0o600)
        self.remote_end = listen_at(self.site.socket("remote"), 0o600)
        code = "import sys; from eqmail_core.scheduler.service import run; from eqmail_core.site.site import Site; "
        code += "it = Site(home=sys.argv[1], single_user=True); run(it, 1, [it.socket('remote')])"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([sys.executable, "-c", code, str(home)], stdout=log, cwd=ROOT)
        self.local, self.remote = Peer(self.local_end), Peer(self.remote_end)
        self.queue = Peer(self.queue_end)
        assert self.queue.kind(admission.HELLO) == ()

    def admit(self, serial: int, number: int, envelope: bytes, text: bytes = b"Subject: x\n\nbody\n") -> None:
        fd = os.memfd_create("message")
        os.write(fd, text)
        self.queue.send(admission.admission(admission.Admission(serial, number, len(text), BIRTH, 7, 42, envelope)), fd)
        os.close(fd)

    def log(self) -> list[str]:
        lines = self.log_path.read_text().splitlines()
        return [line for line in lines if not line.startswith("status: local")]

    def until_logged(self, line: str) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while line not in self.log():
            assert time.monotonic() < deadline, self.log()
            assert self.process.poll() is None, self.log()
            time.sleep(0.01)

    def write_mess(self, serial: int, number: int) -> None:
        Path(self.site.queue.mess(number)).write_bytes(b"Subject: x\n\nbody\n")
        self.queue.send(admission.spill_request(serial, True))

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(TIMEOUT_S) == 0
        assert self.log()[-1] == "status: exiting"

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for it in (self.queue, self.local, self.remote):
            it.sock.close()
        for sock in (self.queue_end, self.local_end, self.remote_end):
            sock.close()


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[ServiceHarness]:
    it = ServiceHarness(tmp_path)
    yield it
    it.close()


def take_order(peer: Peer) -> tuple[delivery.DeliveryRequest, bytes]:
    packet, fd = peer.receive()
    text = os.pread(fd, 100_000, 0)
    os.close(fd)
    return delivery.split_order(packet), text


def test_a_message_is_finished_when_its_delivery_is_durable(harness: ServiceHarness) -> None:
    harness.admit(11, 457, b"Fa@b\0Tjoe@example.org\0")
    order, text = take_order(harness.local)
    assert (order.number, order.sender, order.recipient) == (457, b"a@b", b"joe@example.org")
    assert order.name == b"%d.M12Q457R0" % BIRTH
    assert text == b"Subject: x\n\nbody\n"
    harness.local.send(delivery.report(order.serial, DeliveryResult(b"K", b"did 1+0+0\n", NOT_DURABLE)))
    harness.until_logged("delivery 1: success: did_1+0+0/")
    assert select.select([harness.queue.sock], [], [], 0.05)[0] == []
    harness.local.send(delivery.durable([order.serial]))
    assert harness.queue.kind(admission.FINISHED) == (11,)
    harness.until_logged("end msg 457")
    harness.end()
    assert harness.log()[:2] == ["new msg 457", "info msg 457: bytes 17 from <a@b> qp 42 uid 7"]


def test_a_deferred_message_goes_to_the_disk_with_its_times(harness: ServiceHarness) -> None:
    harness.admit(11, 457, b"Fa@b\0Tr@other.net\0Tjoe@example.org\0")
    order, _ = take_order(harness.remote)
    assert order.name == b"", "a server names its copies itself"
    local, _ = take_order(harness.local)
    assert local.name == b"%d.M12Q457R0" % BIRTH
    harness.remote.send(delivery.report(order.serial, DeliveryResult(b"D", b"no such user\n")))
    harness.local.send(delivery.report(local.serial, DeliveryResult(b"Z", b"later\n")))
    assert harness.queue.kind(admission.WAITS) == (11,)
    harness.write_mess(11, 457)
    assert harness.queue.kind(admission.PLACED) == (11,)
    paths = harness.site.queue
    assert Path(paths.info(457)).read_bytes() == b"Fa@b\0"
    assert os.stat(paths.info(457)).st_mtime == BIRTH
    assert Path(paths.channel("local", 457)).read_bytes() == b"Tjoe@example.org\0"
    assert Path(paths.bounce(457)).read_bytes() == b"<r@other.net>:\nno such user\n\n"
    assert not os.path.exists(paths.channel("remote", 457))
    harness.end()
    due = os.stat(paths.channel("local", 457)).st_mtime
    now = int(time.time())
    assert next_retry(BIRTH, now - 30, LOCAL) <= due <= next_retry(BIRTH, now, LOCAL)


def test_a_delivery_keeps_its_name_from_memory_to_the_disk_and_in_the_next_life(harness: ServiceHarness) -> None:
    """So that a copy is replaced, not duplicated, whichever process died between the two attempts."""
    harness.admit(11, 457, b"Fa@b\0Ta@example.org\0Tbo@example.org\0")
    names = []
    for letter in (b"K", b"Z"):
        order, _ = take_order(harness.local)
        names.append(order.name)
        harness.local.send(delivery.report(order.serial, DeliveryResult(letter, b"x\n")))
    assert names == [b"%d.M12Q457R0" % BIRTH, b"%d.M12Q457R15" % BIRTH]
    assert harness.queue.kind(admission.WAITS) == (11,)
    harness.write_mess(11, 457)
    assert harness.queue.kind(admission.PLACED) == (11,)
    harness.process.send_signal(signal.SIGALRM)
    order, _ = take_order(harness.local)
    assert (order.recipient, order.name) == (b"bo@example.org", names[1])


def test_term_waits_for_deliveries_and_leaves_ordinary_files(harness: ServiceHarness) -> None:
    harness.admit(11, 457, b"Fa@b\0Tr@other.net\0")
    order, _ = take_order(harness.remote)
    harness.process.send_signal(signal.SIGTERM)
    assert harness.queue.kind(admission.WAITS) == (11,)
    harness.write_mess(11, 457)
    assert harness.queue.kind(admission.PLACED) == (11,)
    assert harness.process.poll() is None
    harness.remote.send(delivery.report(order.serial, DeliveryResult(b"Z", b"later\n")))
    assert harness.process.wait(TIMEOUT_S) == 0
    path = harness.site.queue.channel("remote", 457)
    assert Path(path).read_bytes() == b"Tr@other.net\0"
    assert os.stat(path).st_mtime >= next_retry(BIRTH, int(time.time()) - 30, REMOTE)


def test_a_second_term_waits_for_no_delivery(harness: ServiceHarness) -> None:
    harness.admit(11, 457, b"Fa@b\0Tr@other.net\0")
    take_order(harness.remote)
    for _ in range(2):
        harness.process.send_signal(signal.SIGTERM)
    assert harness.queue.kind(admission.WAITS) == (11,)
    harness.write_mess(11, 457)
    assert harness.queue.kind(admission.PLACED) == (11,)
    time.sleep(1.1)
    assert harness.process.poll() is None, "two at once are one"
    harness.process.send_signal(signal.SIGTERM)
    assert harness.process.wait(TIMEOUT_S) == 0
    assert harness.log()[-1] == "status: exiting"
    assert Path(harness.site.queue.channel("remote", 457)).read_bytes() == b"Tr@other.net\0"


@pytest.mark.parametrize("malformed", [b"N", b"N" + bytes(36), b"N" + bytes(36) + b"Xx\0", b"W12"])
def test_a_queue_service_with_malformed_packets_is_reconnected(harness: ServiceHarness, malformed: bytes) -> None:
    harness.admit(11, 457, b"Fa@b\0Tr@other.net\0")
    order, _ = take_order(harness.remote)
    harness.queue.send(malformed)
    harness.until_logged("warning: the queue service talks nonsense: will connect to it again")
    harness.queue.sock.close()
    harness.queue = Peer(harness.queue_end)
    assert harness.queue.kind(admission.HELLO) == (11,)
    harness.remote.send(delivery.report(order.serial, DeliveryResult(b"K", b"ok\n")))
    assert harness.queue.kind(admission.FINISHED) == (11,)
    harness.end()


def test_a_new_queue_service_gets_the_held_messages_and_recent_notices(harness: ServiceHarness) -> None:
    harness.admit(11, 457, b"Fa@b\0Tr@other.net\0")
    harness.admit(12, 458, b"Fa@b\0Tjoe@example.org\0")
    order, _ = take_order(harness.local)
    harness.local.send(delivery.report(order.serial, DeliveryResult(b"K", b"ok\n")))
    assert harness.queue.kind(admission.FINISHED) == (12,)
    harness.queue.sock.close()
    harness.queue = Peer(harness.queue_end)
    assert harness.queue.kind(admission.HELLO) == (12, 11)
    assert harness.queue.kind(admission.FINISHED) == (12,)
    order, _ = take_order(harness.remote)
    harness.remote.send(delivery.report(order.serial, DeliveryResult(b"K", b"ok\n")))
    kinds = []
    while admission.FINISHED not in kinds:
        packet, _ = harness.queue.receive()
        kinds.append(packet[:1])
        assert admission.split_serials(packet) == (11,)


def test_orders_of_a_lost_spawner_are_deferred_and_the_next_one_gets_work(harness: ServiceHarness) -> None:
    harness.admit(11, 457, b"Fa@b\0Tjoe@example.org\0")
    take_order(harness.local)
    harness.local.sock.close()
    harness.until_logged("delivery 1: deferral: Lost_the_connection_to_the_delivery_service;_will_try_again._(#4.3.0)/")
    assert harness.queue.kind(admission.WAITS) == (11,)
    harness.local = Peer(harness.local_end)
    harness.admit(12, 458, b"Fa@b\0Tjoe@example.org\0")
    order, _ = take_order(harness.local)
    assert order.number == 458


@pytest.mark.parametrize("malformed", [b"R", b"Rxx", b"Y123"])
def test_a_deliverer_with_malformed_packets_is_disconnected(harness: ServiceHarness, malformed: bytes) -> None:
    harness.admit(11, 457, b"Fa@b\0Tr@other.net\0")
    take_order(harness.remote)
    harness.remote.send(malformed)
    assert harness.queue.kind(admission.WAITS) == (11,)
    harness.until_logged("warning: internal error: delivery report out of range")
    harness.remote.sock.close()
    harness.remote = Peer(harness.remote_end)
    harness.write_mess(11, 457)
    assert harness.queue.kind(admission.PLACED) == (11,)
    harness.end()


def test_reports_are_truncated_as_by_c(harness: ServiceHarness) -> None:
    harness.admit(11, 457, b"F#@[]\0Tr@other.net\0")
    order, _ = take_order(harness.remote)
    harness.remote.send(b"R" + struct.pack("<QB", order.serial, 1) + b"D" + b"x" * 12_000)
    harness.until_logged("delivery 1: failure: " + "x" * 10_000)
    harness.admit(12, 458, b"F#@[]\0Tr@other.net\0")
    order, _ = take_order(harness.remote)
    harness.remote.send(delivery.report(order.serial, DeliveryResult(b"D", b"no\0more")))
    harness.until_logged("delivery 2: failure: no")


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_bounces_of_any_length_go_over_the_queue_wire(harness: ServiceHarness, size: int) -> None:
    harness.admit(11, 457, b"Fa@b\0Tjoe@example.org\0", b"Subject: x\n\n" + b"y" * size)
    order, _ = take_order(harness.local)
    harness.local.send(delivery.report(order.serial, DeliveryResult(b"D", b"no\n")))
    link = Peer(harness.queue_end)
    envelope, message = b"", b""
    while True:
        packet, _ = link.receive()
        if packet[:1] == queue_wire.WHOLE:
            tag, envelope, view = queue_wire.split_whole(packet)
            message = bytes(view)
            break
        kind, tag, piece = queue_wire.split_tagged(packet)
        if kind == queue_wire.COMMIT:
            break
        if kind == queue_wire.BODY:
            message += piece
        else:
            envelope += piece
    assert envelope == b"F\0Ta@b\0\0"
    assert message.endswith(b"Return-Path: <a@b>\nSubject: x\n\n" + b"y" * size)
    assert b"To: a@b\nSubject: failure notice\n" in message
    link.send(queue_wire.result(tag, 0, 459, BIRTH, 4711))
    assert harness.queue.kind(admission.FINISHED) == (11,)
    harness.until_logged("bounce msg 457 qp 4711")
    link.sock.close()


def test_messages_of_a_foreign_qmail_queue_are_found_by_the_trigger(harness: ServiceHarness) -> None:
    paths = harness.site.queue
    Path(paths.mess(24)).write_bytes(b"m\n")
    Path(paths.todo(24)).write_bytes(b"u0\0p1\0Fa@b\0Tjoe@example.org\0")
    fd = os.open(paths.trigger, os.O_WRONLY | os.O_NONBLOCK)
    os.write(fd, b"\0")
    os.close(fd)
    packet, _ = harness.queue.receive()
    assert packet == b"Xtodo/1/24\0"
    os.unlink(paths.todo(24))
    harness.queue.send(b"X+")
    order, text = take_order(harness.local)
    assert (order.number, text) == (24, b"m\n")
    born = divmod(os.stat(paths.info(24)).st_mtime_ns, 1_000_000_000)
    assert order.name == b"%d.M%dQ24R0" % born
    harness.local.send(delivery.report(order.serial, DeliveryResult(b"K", b"")))
    packet, _ = harness.queue.receive()
    assert packet == b"Xfoop/24\0"
    harness.queue.send(b"X+")
    harness.end()
    assert harness.log()[-2] == "end msg 24"


def test_hup_rereads_the_domains(harness: ServiceHarness) -> None:
    harness.admit(11, 457, b"Fa@b\0Tjoe@new.org\0")
    take_order(harness.remote)
    Path(harness.site.control, "locals").write_text("new.org\n")
    harness.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + TIMEOUT_S
    serial, number = 12, 1000
    while select.select([harness.local.sock], [], [], 0.1)[0] == []:
        assert time.monotonic() < deadline
        harness.admit(serial, number, b"Fa@b\0Tjoe@new.org\0")
        serial, number = serial + 1, number + 1
    order, _ = take_order(harness.local)
    assert order.recipient == b"joe@new.org"


def test_only_one_scheduler_serves_a_queue(harness: ServiceHarness) -> None:
    code = "import sys; from eqmail_core.scheduler.service import run; from eqmail_core.site.site import Site; "
    code += "it = Site(home=sys.argv[1], single_user=True); run(it, 1, [it.socket('remote')])"
    second = subprocess.run(
        [sys.executable, "-c", code, harness.site.home], capture_output=True, check=False, cwd=ROOT, timeout=TIMEOUT_S
    )
    assert second.returncode == 111
    assert second.stdout == b"alert: cannot start: qmail-send is already running\n"
