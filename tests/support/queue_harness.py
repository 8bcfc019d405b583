"""The queue service of a private home on the test's own loop, and those who talk to it."""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

from eqmail_core.event_loop.event_loop import new_event_loop
from eqmail_core.ipc import admission_protocol as admission_wire
from eqmail_core.ipc.async_channel import AsyncChannel
from eqmail_core.ipc.packet_socket import connect_to, listen_at
from eqmail_core.queue.service.service import QueueService
from eqmail_core.site.site import Site

TIMEOUT_S = 60.0


def make_site(home: Path, queue_database: str = "") -> Site:
    site = Site(home=str(home), split=3, single_user=True, queue_database=queue_database)
    paths = site.queue
    for folder in (
        paths.pid,
        paths.lock,
        f"{site.home}/run",
        site.control,
        *paths.mess_dirs(),
        *paths.intd_dirs(),
        *paths.todo_dirs(),
        *paths.info_dirs(),
    ):
        os.makedirs(folder)
    (home / "site").write_text("single-user yes\nsplit 3\n")
    os.mkfifo(paths.trigger)
    return site


class Scheduler:
    """The scheduler's end: keeps what is admitted."""

    def __init__(self, harness: "QueueHarness", held: list[int] | None = None) -> None:
        self.admitted: list[tuple[admission_wire.Admission, int]] = []
        self.answers: list[bytes] = []
        self.is_closed = False
        self.lease = b""
        self.epoch = 0
        self.channel = AsyncChannel(
            harness.loop, connect_to(harness.path), self._on_packet, self._on_close, takes_descriptors=True
        )
        self.channel.send(admission_wire.serials(admission_wire.HELLO, held or []))

    def send(self, kind: bytes, *serials: int) -> None:
        self.channel.send(admission_wire.serials(kind, list(serials)))

    def _on_packet(self, packet: bytes, fd: int) -> None:
        if packet[:1] == admission_wire.ADMIT:
            self.admitted.append((admission_wire.split_admission(packet), fd))
        elif packet[:1] == admission_wire.RESUME:
            self.admitted.append((admission_wire.split_resumption(packet), fd))
        elif packet[:1] == admission_wire.LEASE:
            self.lease, self.epoch = admission_wire.split_lease(packet)
        else:
            self.answers.append(packet)

    def _on_close(self) -> None:
        self.is_closed = True

    def close(self) -> None:
        for _, fd in self.admitted:
            os.close(fd)
        self.admitted.clear()
        self.channel.close()


class QueueHarness:
    """A running service; `until` lets it run."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.path = site.socket("queue")
        self.loop = new_event_loop()
        self.listener: socket.socket = listen_at(self.path, 0o600)
        self.service = QueueService(site, self.listener, self.loop)

    def until(self, condition: Callable[[], object]) -> None:
        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0.001)

        self.loop.run_until_complete(asyncio.wait_for(wait(), TIMEOUT_S))

    def receive(self, sock: socket.socket) -> bytes:
        """The next packet for a client."""
        got: list[bytes] = []
        sock.setblocking(False)

        def look() -> bool:
            try:
                got.append(sock.recv(1000))
            except BlockingIOError:
                return False
            return True

        self.until(look)
        return got[0]

    def scheduler(self, held: list[int] | None = None) -> Scheduler:
        it = Scheduler(self, held)
        self.until(lambda: self.service.has_scheduler)
        return it

    def stop(self) -> None:
        """As TERM does it."""
        self.loop.call_soon(self.service.stop)
        self.loop.run_forever()
        self.close()

    def close(self) -> None:
        """Also: die without a word."""
        self.service.abandon()
        self.listener.close()
        self.loop.close()
        assert self.service.error is None

    def files(self, folder: str) -> list[Path]:
        return sorted(path for path in Path(self.site.queue.root, folder).rglob("*") if path.is_file())
