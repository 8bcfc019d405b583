#!/usr/bin/env python3
"""How much mail one and two remote workers relay, plain and with a TLS handshake for every message.

    PYTHONPATH=. python tests/benchmarks/workers.py [MESSAGES]       default 4000

A private installation with its defaults and `remoteworkers`; the load is that of starvation.py, for a server in two
processes on loopback.  With TLS, `remotereuse` is 0.  Prints messages a second from the first acceptance to the last
delivery, and the CPU time of the workers for a message.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import ssl
import sys
import tempfile
from pathlib import Path

import trustme

from tests.benchmarks.starvation import CLIENTS, Watch, send
from tests.conftest import eqmail
from tests.support.mail_system import MailSystem, until


def start_sink(listener: socket.socket, context: ssl.SSLContext | None) -> int:
    """A process that accepts every message; its pid."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            asyncio.run(_serve(listener, context))
        os._exit(0)
    return pid


async def _serve(listener: socket.socket, context: ssl.SSLContext | None) -> None:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            writer.write(b"220 sink ESMTP\r\n")
            while line := await reader.readline():
                word = line[:4].upper()
                if word == b"DATA":
                    writer.write(b"354 go\r\n")
                    await reader.readuntil(b"\r\n.\r\n")
                    writer.write(b"250 ok\r\n")
                elif word == b"EHLO":
                    writer.write(
                        b"250-sink\r\n250-STARTTLS\r\n250 PIPELINING\r\n" if context else b"250 PIPELINING\r\n"
                    )
                elif word == b"STAR" and context is not None:
                    writer.write(b"220 go\r\n")
                    await writer.start_tls(context)
                else:
                    writer.write(b"250 ok\r\n")
        writer.close()

    await (await asyncio.start_server(converse, sock=listener, backlog=500)).serve_forever()


def cpu_of_workers(mail_system: MailSystem) -> float:
    """CPU seconds of all remote workers so far."""
    total = 0
    for pid, name in mail_system.services().items():
        if name == "qmail-rspawn":
            words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(words[11]) + int(words[12])
    return total / os.sysconf("SC_CLK_TCK")


def run(count: int, workers: int, context: ssl.SSLContext | None) -> str:
    folder = Path(tempfile.mkdtemp(prefix="eqmail-workers-", dir="/var/tmp"))
    home, listener = folder / "home", socket.create_server(("127.0.0.1", 0), backlog=500)
    sinks = [start_sink(listener, context) for _ in range(2)]
    eqmail("--home", home, "setup", "--single-user")
    eqmail("--home", home, "config-fast", "mail.example.org")
    settings = {"remoteworkers": f"{workers}", "smtproutes": f":127.0.0.1:{listener.getsockname()[1]}"}
    settings |= {"remotereuse": "0"} if context else {}
    for name, text in settings.items():
        (home / "control" / name).write_text(f"{text}\n")
    with open(home / "control/rcpthosts", "a") as hosts:
        hosts.write("sink.test\n")
    mail_system = MailSystem(home)
    try:
        watch = Watch(mail_system.log_path)
        accepted = send(mail_system.port, lambda done: done < count // CLIENTS, b"r@sink.test")
        delivered = watch.times[b": success: "]
        until(lambda: len(delivered) >= len(accepted), "the last message", 300)
        watch.end()
        rate = len(accepted) / (delivered[-1] - accepted[0])
        cpu_ms = cpu_of_workers(mail_system) / len(accepted) * 1000
        kind = "TLS for each" if context else "plain"
        return f"{workers} workers, {kind}: {rate:.0f} messages/s, {cpu_ms:.2f} ms CPU a message"
    finally:
        mail_system.kill()
        for pid in sinks:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("sink.test").configure_cert(context)
    for chosen in (None, context):
        for workers in (1, 2, 1, 2):
            print(run(count, workers, chosen), flush=True)


if __name__ == "__main__":
    main()
