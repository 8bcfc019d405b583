"""The deliveries of the remote service when their scheduler goes away."""

import asyncio
import os
import socket

from eqmail_core.protocols.delivery_wire import Order, order
from eqmail_core.services.remote.delivery import RemoteDeliveries, Report
from eqmail_core.services.remote.pool import Pool


class _Endless(RemoteDeliveries):
    def __init__(self) -> None:
        pass

    async def deliver(self, order: Order, message: int) -> Report:
        await asyncio.sleep(3600)
        return b"K", b""


def test_an_order_whose_scheduler_is_gone_at_once_keeps_no_place() -> None:
    async def scene() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        message = os.memfd_create("message")
        packet = order(Order(1, 5, b"", b"joe@here.test", b"box@away.test", b""))
        socket.send_fds(theirs, [packet], [message])
        theirs.close()
        pool = Pool(_Endless(), 1)
        before = len(os.listdir("/proc/self/fd"))
        pool.serve(asyncio.get_running_loop(), ours)
        await asyncio.sleep(0.05)
        assert pool.has_room
        await asyncio.wait_for(pool.finish(), 60)
        os.close(message)
        # the message twice and the connection are closed
        assert len(os.listdir("/proc/self/fd")) == before - 2

    asyncio.run(scene())
