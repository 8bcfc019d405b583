"""The deliveries of the remote service when their scheduler goes away."""

import asyncio
import os
import socket

import pytest

from eqmail_core.ipc.delivery_protocol import DeliveryRequest, order, split_report
from eqmail_core.outcome import DeliveryResult
from eqmail_core.remote.delivery import RemoteDeliveries
from eqmail_core.remote.service import RemoteService


class _Endless(RemoteDeliveries):
    def __init__(self) -> None:
        pass

    async def deliver(self, order: DeliveryRequest, message: int) -> DeliveryResult:
        await asyncio.sleep(3600)
        return b"K", b""


def test_a_request_whose_scheduler_is_gone_keeps_no_slot() -> None:
    async def harness() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        message = os.memfd_create("message")
        packet = order(DeliveryRequest(1, 5, b"", b"joe@here.test", b"box@away.test", b""))
        socket.send_fds(theirs, [packet], [message])
        theirs.close()
        pool = RemoteService(_Endless(), 1)
        before = len(os.listdir("/proc/self/fd"))
        pool.serve(asyncio.get_running_loop(), ours)
        await asyncio.sleep(0.05)
        assert pool.has_room
        await asyncio.wait_for(pool.finish(), 60)
        os.close(message)
        # the message twice and the connection are closed
        assert len(os.listdir("/proc/self/fd")) == before - 2

    asyncio.run(harness())


class _Broken(RemoteDeliveries):
    def __init__(self) -> None:
        self.orders = 0

    async def deliver(self, order: DeliveryRequest, message: int) -> DeliveryResult:
        self.orders += 1
        if self.orders == 1:
            raise LookupError("a bug")
        return DeliveryResult(b"K", b"got it\n")


def test_a_bug_in_one_delivery_is_its_report_and_disturbs_no_other(capfd: pytest.CaptureFixture[str]) -> None:
    async def harness() -> list[tuple[int, DeliveryResult]]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        message = os.memfd_create("message")
        pool = RemoteService(_Broken(), 1)
        pool.serve(asyncio.get_running_loop(), ours)
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        reports = []
        for serial in (1, 2):
            socket.send_fds(theirs, [order(DeliveryRequest(serial, 5, b"", b"s@x", b"r@y", b""))], [message])
            reports.append(split_report(await loop.sock_recv(theirs, 10000)))
        theirs.close()
        while pool._wires:
            await asyncio.sleep(0.001)
        await asyncio.wait_for(pool.finish(), 5)
        os.close(message)
        return reports

    assert asyncio.run(harness()) == [
        (1, DeliveryResult(b"Z", b"Internal error in remote delivery. (#4.3.5)\n")),
        (2, DeliveryResult(b"K", b"got it\n")),
    ]
    assert "alert: delivery 1 of message 5: LookupError: a bug" in capfd.readouterr().err
