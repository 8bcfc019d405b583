#!/usr/bin/env python3
"""How long mail to a live server takes behind mail to one that connects and never answers.

    PYTHONPATH=. python tests/benchmarks/isolation.py [DEAD [LIVE]]      messages for each, default 2000 and 500

A private installation with its defaults; the live server is on loopback.  Prints when the last message for the live
server was accepted by us, and when it was there, in seconds from the first one, and the same without the dead one.
"""

import contextlib
import shutil
import smtplib
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.conftest import eqmail
from tests.support.mail_system import MailSystem, until


def serve(listener: socket.socket, seen: list[float]) -> None:
    """Accept every message of every connection, and note when."""

    def converse(client: socket.socket) -> None:
        stream = client.makefile("rwb")
        stream.write(b"220 live ESMTP\r\n")
        stream.flush()
        in_data = False
        for line in stream:
            if in_data:
                if line != b".\r\n":
                    continue
                in_data = False
                seen.append(time.monotonic())
            in_data = line[:4] == b"DATA"
            stream.write(b"354 go\r\n" if in_data else b"250 ok\r\n")
            stream.flush()

    def quietly(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            converse(client)

    while True:
        client, _ = listener.accept()
        threading.Thread(target=quietly, args=(client,), daemon=True).start()


def give(mail_system: MailSystem, domain: str, count: int) -> None:
    with smtplib.SMTP("127.0.0.1", mail_system.port, timeout=60) as client:
        for number in range(count):
            client.sendmail("a@example.net", [f"r{number}@{domain}"], "Subject: x\r\n\r\n" + "x" * 2000 + "\r\n")


def run(dead: int, live: int) -> str:
    folder = Path(tempfile.mkdtemp(prefix="eqmail-isolation-", dir="/var/tmp"))
    eqmail("--home", folder / "home", "setup", "--single-user")
    eqmail("--home", folder / "home", "config-fast", "mail.example.org")
    control = folder / "home/control"
    silent, server = socket.create_server(("127.0.0.1", 0), backlog=500), socket.create_server(("127.0.0.1", 0))
    routes = ((it, it.getsockname()[1]) for it in (silent, server))
    (control / "smtproutes").write_text(
        "".join(f"{name}.test:127.0.0.1:{port}\n" for name, (_, port) in zip(("dead", "live"), routes, strict=True))
    )
    with open(control / "rcpthosts", "a") as hosts:
        hosts.write("dead.test\nlive.test\n")
    seen: list[float] = []
    threading.Thread(target=serve, args=(server, seen), daemon=True).start()
    mail_system = MailSystem(folder / "home")
    try:
        give(mail_system, "dead.test", dead)
        began = time.monotonic()
        give(mail_system, "live.test", live)
        accepted = time.monotonic() - began
        until(lambda: len(seen) >= live, "all live messages", 120)
        return f"{dead} dead, {live} live: accepted in {accepted:.1f} s, delivered in {max(seen) - began:.1f} s"
    finally:
        mail_system.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    words = [int(word) for word in sys.argv[1:]]
    dead_count, live_count = (*words, *(2000, 500)[len(words) :])
    for how_many in (0, dead_count):
        print(run(how_many, live_count), flush=True)
