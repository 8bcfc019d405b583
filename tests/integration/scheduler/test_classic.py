"""The pipes of the classic scheduler."""

import os
import time
from collections.abc import Iterator

import pytest

from eqmail_core.mail.message_identity import MessageIdentity
from eqmail_core.outcome import DeliveryResult
from eqmail_core.queue.files import QueueFiles
from eqmail_core.scheduler.classic import MAX_SLEEP_S, REPORT_BYTES, ClassicSend, SpawnerPipe
from eqmail_core.scheduler.ports import Delivery, Job
from eqmail_core.site.layout import QueuePaths


class Pipes:
    def __init__(self) -> None:
        self.command_out, command_in = os.pipe()
        self.spawner = SpawnerPipe(QueueFiles(QueuePaths("/queue", 23, True)), command_in, -1, 3)
        os.set_blocking(command_in, False)
        self.command_in = command_in

    def order(self, number: int, recipient: bytes) -> Delivery:
        job = Job(None, MessageIdentity(number, 0), 0, b"a@b", iter(()), False)  # type: ignore[arg-type]  # no book is needed
        it = Delivery(job, 0, recipient, 0)
        self.spawner.deliver(it, b"a@b")
        self.spawner.flush()
        return it


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    it = Pipes()
    yield it
    os.close(it.command_out)
    os.close(it.command_in)


def test_commands_name_slot_message_sender_and_recipient(pipes: Pipes) -> None:
    pipes.order(24, b"joe@x")
    pipes.order(25, b"jim@x")
    assert os.read(pipes.command_out, 1000) == b"\0001/24\0a@b\0joe@x\0" + b"\0012/25\0a@b\0jim@x\0"


def test_reports_are_understood_in_any_pieces(pipes: Pipes) -> None:
    first, second = pipes.order(24, b"joe@x"), pipes.order(25, b"jim@x")
    stream = b"\1Kfine\n\0" + b"\0Zlater\0"
    found = []
    for byte in stream:
        found += list(pipes.spawner.reports(bytes([byte])))
    assert found == [(second, DeliveryResult(b"K", b"fine\n")), (first, DeliveryResult(b"Z", b"later"))]
    assert pipes.order(26, b"jon@x") is not None
    assert os.read(pipes.command_out, 1000).endswith(b"\0003/26\0a@b\0jon@x\0"), "the lowest free slot is used again"


def test_reports_about_unknown_slots_are_recognized(pipes: Pipes) -> None:
    pipes.order(24, b"joe@x")
    assert list(pipes.spawner.reports(b"\1Kx\0\x09Kx\0")) == [(None, DeliveryResult(b"K", b"x"))] * 2


def test_an_empty_report_has_no_letter(pipes: Pipes) -> None:
    it = pipes.order(24, b"joe@x")
    assert list(pipes.spawner.reports(b"\0\0")) == [(it, DeliveryResult(b"", b""))]


def test_long_reports_are_cut(pipes: Pipes) -> None:
    it = pipes.order(24, b"joe@x")
    [(delivery, result)] = list(pipes.spawner.reports(b"\0D" + b"x" * 20_000 + b"\0"))
    assert (delivery, result.outcome) == (it, b"D")
    assert result.text == b"x" * (REPORT_BYTES - 2)


def test_a_command_waits_while_the_pipe_is_full(pipes: Pipes) -> None:
    room = b"x" * 65536
    while True:
        try:
            os.write(pipes.command_in, room)
        except BlockingIOError:
            break
    pipes.order(24, b"joe@x")
    assert not pipes.spawner.is_ready()
    os.read(pipes.command_out, 65536)
    pipes.spawner.flush()
    assert pipes.spawner.is_ready()


@pytest.mark.parametrize(("due_in", "sleeps"), [(-5.0, 0.0), (None, MAX_SLEEP_S), (10 * MAX_SLEEP_S, MAX_SLEEP_S)])
def test_overdue_work_is_not_waited_for(due_in: float | None, sleeps: float) -> None:
    class DueCore:
        def wakes_at(self) -> float | None:
            return None if due_in is None else time.time() + due_in

    it = object.__new__(ClassicSend)
    it._arrived = set()
    it._core = DueCore()  # type: ignore[assignment]  # all that is asked here
    assert it._sleep_s() == sleeps
