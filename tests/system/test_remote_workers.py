"""Several processes that deliver to other hosts: they share the work and the limits, and one may die."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mail_system import MailSystem, until

PLACES = 4


class Sink:
    """A server that acknowledges messages on request only; `most` is the highest number of open ones."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self.listener.getsockname()[1]
        self.go = threading.Event()
        self.waiting = self.most = 0
        self.accepted: list[str] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        recipient, in_data = "", False
        try:
            with client, client.makefile("rwb") as stream:
                stream.write(b"220 sink ESMTP\r\n")
                stream.flush()
                for line in stream:
                    if in_data and line != b".\r\n":
                        continue
                    if in_data:
                        self._hold(recipient)
                    elif line.startswith(b"RCPT"):
                        recipient = line.decode().partition("<")[2].partition("@")[0]
                    in_data = line[:4] == b"DATA"
                    stream.write(b"354 go\r\n" if in_data else b"250 ok\r\n")
                    stream.flush()
        except OSError:
            pass

    def _hold(self, recipient: str) -> None:
        with self._lock:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
        self.go.wait(60)
        with self._lock:
            self.waiting -= 1
            self.accepted.append(recipient)


@pytest.fixture
def sink() -> Iterator[Sink]:
    it = Sink()
    yield it
    it.go.set()
    it.listener.close()


@pytest.fixture
def mail_system(private_home: Path, sink: Sink) -> Iterator[MailSystem]:
    control = private_home / "control"
    (control / "remoteworkers").write_text("2\n")
    (control / "concurrencyremote").write_text(f"{PLACES}\n")
    (control / "remotelimits").write_text("*:concurrency=20\n")
    (control / "smtproutes").write_text(f":127.0.0.1:{sink.port}\n")
    it = MailSystem(private_home)
    yield it
    if it.process is not None and it.process.poll() is None:
        it.kill()


def workers(mail_system: MailSystem) -> list[int]:
    return sorted(pid for pid, name in mail_system.services().items() if name == "qmail-rspawn")


def status(mail_system: MailSystem) -> str:
    """The last status line of the log."""
    return [line for line in mail_system.log().splitlines() if line.startswith("status: ")][-1]


def give(mail_system: MailSystem, count: int) -> list[str]:
    """Messages for other hosts, each its own destination."""
    names = [f"r{index}" for index in range(count)]
    for name in names:
        mail_system.inject(["-fsender@example.net", f"{name}@{name}.example"], "Subject: x\n\nbody\n")
    return names


def test_the_places_are_those_of_all_workers_together(mail_system: MailSystem, sink: Sink) -> None:
    assert len(workers(mail_system)) == 2
    names = give(mail_system, 10)
    # An eighth of the places, and one at least, is kept for destinations that have shown that they answer.
    until(lambda: sink.waiting == PLACES - 1, "all places to be taken")
    sink.go.set()
    until(lambda: sorted(sink.accepted) == sorted(names), "every message")
    assert sink.most <= PLACES
    until(lambda: status(mail_system).endswith(f"remote 0/{PLACES}"), "every place to be free")
    mail_system.stop()


def test_a_killed_worker_loses_no_message_and_no_place(mail_system: MailSystem, sink: Sink) -> None:
    names = give(mail_system, 2)
    until(lambda: sink.waiting == 2, "a delivery by each worker")
    os.kill(workers(mail_system)[0], signal.SIGKILL)
    until(lambda: "Lost_the_connection_to_the_delivery_service" in mail_system.log(), "a deferral")
    assert mail_system.log().count("Lost_the_connection") == 1, "the other worker goes on"
    until(lambda: status(mail_system).endswith(f"remote 1/{PLACES}"), "its place to be free")
    sink.go.set()
    until(lambda: mail_system.log().count(": success: ") == 1, "the other one's message")
    until(lambda: len(workers(mail_system)) == 2, "a new worker")
    assert mail_system.process is not None
    mail_system.process.send_signal(signal.SIGALRM)
    until(lambda: mail_system.log().count(": success: ") == 2, "the message of the dead one")
    assert set(sink.accepted) == set(names)
    mail_system.stop()
