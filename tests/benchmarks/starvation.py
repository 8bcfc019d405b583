#!/usr/bin/env python3
"""Whether injection starves delivery, or delivery injection: the "silly qmail syndrome", measured.

    PYTHONPATH=. python tests/benchmarks/starvation.py [--burst 20000] [--backlog 50000] [--seconds 10]

A private installation with its defaults, messages of 2 KiB, 8 clients that keep their sessions, each its own process.

burst    so many messages as fast as they are taken, for one Maildir: what was accepted and delivered in each window of
         time, until the last one is there
backlog  accepted and delivered, a second, for some seconds: with an empty queue; with so many messages in it that wait
         for their next attempt; and while all of those are tried again and deferred again (a server that says 450)

Accepted is when the client has its 250; delivered is when the log line appears.
"""

import argparse
import os
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from bisect import bisect
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.big_queue import counted, fill
from tests.conftest import eqmail
from tests.support.mail_system import MailSystem, make_maildir, until

CLIENTS = 8
BODY = b"Subject: x\r\n\r\n" + b"x" * 2000 + b"\r\n.\r\n"
COMMANDS = b"MAIL FROM:<a@example.net>\r\nRCPT TO:<%b>\r\nDATA\r\n"
LOCAL = b"new@mail.example.org"


def talk(port: int, go_on: Callable[[int], bool], recipient: bytes) -> list[float]:
    """Send messages over one session; when each was accepted."""
    times: list[float] = []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        replies = sock.makefile("rb")
        replies.readline()
        sock.sendall(b"HELO client\r\n")
        replies.readline()
        while go_on(len(times)):
            sock.sendall(COMMANDS % recipient)
            assert [replies.readline()[:1] for _ in range(3)] == [b"2", b"2", b"3"]
            sock.sendall(BODY)
            assert replies.readline()[:3] == b"250"
            times.append(time.time())
    return times


def send(port: int, go_on: Callable[[int], bool], recipient: bytes = LOCAL) -> list[float]:
    """All clients at once; the times of all messages in order."""
    pipes = []
    for _ in range(CLIENTS):
        reading, writing = os.pipe()
        if os.fork() == 0:
            status = 1
            try:
                times = talk(port, go_on, recipient)
                with os.fdopen(writing, "wb") as stream:
                    stream.write(struct.pack(f"{len(times)}d", *times))
                status = 0
            finally:
                os._exit(status)
        os.close(writing)
        pipes.append(reading)
    found: list[float] = []
    for reading in pipes:
        with os.fdopen(reading, "rb") as stream:
            text = stream.read()
        assert text, "a client failed"
        found += struct.unpack(f"{len(text) // 8}d", text)
        os.wait()
    return sorted(found)


class Watch:
    """Follows a log and records the time of each line."""

    def __init__(self, log: Path) -> None:
        self.times: dict[bytes, list[float]] = {b": success: ": [], b": deferral: ": []}
        self._stream = log.open("rb")
        self._stream.seek(0, os.SEEK_END)
        self._ends = False
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Look no more."""
        self._ends = True
        self._thread.join()
        self._stream.close()

    def _follow(self) -> None:
        rest = b""
        while not self._ends:
            text, _, rest = (rest + self._stream.read()).rpartition(b"\n")
            now = time.time()
            for what, times in self.times.items():
                times += [now] * text.count(what)
            time.sleep(0.05)


def between(times: list[float], start: float, end: float) -> int:
    return bisect(times, end) - bisect(times, start)


def burst(mail_system: MailSystem, count: int) -> None:
    watch, began = Watch(mail_system.log_path), time.time()
    accepted = send(mail_system.port, lambda done: done < count // CLIENTS)
    delivered = watch.times[b": success: "]
    until(lambda: len(delivered) >= len(accepted), "the last message", 600)
    watch.end()
    over, end = accepted[-1] - began, delivered[-1] - began
    print(f"burst: {len(accepted)} messages, accepted within {over:.1f} s, delivered within {end:.1f} s")
    limits = [over * step / 4 for step in range(5)] + [over + (end - over) * step / 4 for step in range(1, 5)]
    for start, stop in zip(limits, limits[1:], strict=False):
        if stop - start > 0.2:
            rates = [between(times, began + start, began + stop) / (stop - start) for times in (accepted, delivered)]
            phase = "during" if stop <= over else "after"
            print(f"  {phase:6} {start:5.1f} - {stop:5.1f} s: {rates[0]:5.0f} accepted/s, {rates[1]:5.0f} delivered/s")


def steady(mail_system: MailSystem, what: str, seconds: float) -> None:
    os.sync()  # or the disk would still be busy with the files of the phase before
    watch, began = Watch(mail_system.log_path), time.time()
    accepted = send(mail_system.port, lambda done: time.time() < began + seconds)
    delivered, deferred = watch.times.values()
    until(lambda: len(delivered) >= len(accepted), "the last message", 600)
    watch.end()
    end = began + seconds
    rates = [between(times, began, end) / seconds for times in (accepted, delivered, deferred)]
    print(
        f"  {what}: {rates[0]:5.0f} accepted/s, {rates[1]:5.0f} delivered/s, {rates[2]:5.0f} deferred/s;"
        f" the last one delivered {max(0.0, delivered[-1] - accepted[-1]):.1f} s after its acceptance",
        flush=True,
    )


def say_later(listener: socket.socket) -> None:
    """A server that wants nothing now."""

    def converse(client: socket.socket) -> None:
        with client, client.makefile("rb") as lines:
            client.sendall(b"220 busy\r\n")
            for line in lines:
                client.sendall(b"451 later\r\n" if line[:4].upper() == b"RCPT" else b"250 ok\r\n")

    def quietly(client: socket.socket) -> None:
        try:
            converse(client)
        except OSError:
            pass

    while True:
        client, _ = listener.accept()
        threading.Thread(target=quietly, args=(client,), daemon=True).start()


def make_home(home: Path, port: int) -> None:
    eqmail("--home", home, "setup", "--single-user")
    eqmail("--home", home, "config-fast", "mail.example.org")
    (home / "control/smtproutes").write_text(f":127.0.0.1:{port}\n")
    make_maildir(home / "alias/Maildir")
    (home / "alias/.qmail-default").write_text("./Maildir/\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="See the docstring of this file.")
    parser.add_argument("--burst", type=int, default=20_000)
    parser.add_argument("--backlog", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    words = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="eqmail-starvation-", dir="/var/tmp"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    home, server = folder / "home", socket.create_server(("127.0.0.1", 0), backlog=200)
    threading.Thread(target=say_later, args=(server,), daemon=True).start()
    make_home(home, server.getsockname()[1])
    mail_system = MailSystem(home)
    try:
        if words.burst:
            burst(mail_system, words.burst)
        if words.backlog:
            print(f"backlog: {words.seconds:g} s of mail for one Maildir")
            steady(mail_system, "an empty queue", words.seconds)
            mail_system.stop(60)
            fill(home / "queue", words.backlog)
            mail_system.start()
            until(lambda: counted(home) >= words.backlog, "all old messages", 120)
            steady(mail_system, f"{words.backlog} messages that wait", words.seconds)
            eqmail("--home", home, "queue", "retry", "--all")
            steady(mail_system, f"{words.backlog} messages that are tried again", words.seconds)
    finally:
        mail_system.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
