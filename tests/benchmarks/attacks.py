#!/usr/bin/env python3
"""The effect of one hostile client on others: how long another client waits for its greeting under each attack.

    PYTHONPATH=. python tests/benchmarks/attacks.py [--seconds 5] [ATTACK ...]

A resident SMTP service of its own, without a queue service. The attackers come from 127.0.0.1, the other client from
127.0.0.2, one connection after the other. For each attack a line: milliseconds to the greeting (median, worst), how
many got none, the memory of the service in MB, its descriptors, and the most children it had at a time.

ehlo       26 MB of pipelined EHLO, whose replies are never read
newlines   5 MB of bare newlines, whose replies are never read
noop       pipelined NOOP, whose replies are read
auth       200 logins at once, each with a checker that works for half a second
idle       600 connections that say nothing
"""

import argparse
import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(os.environ.get("EQMAIL_TREE", Path(__file__).parents[2]))
RUN = """
import sys
sys.path.insert(0, {root!r})
from eqmail_core.smtpd.server import service as smtp
from eqmail_core.smtpd.server.listener import SmtpListener
from eqmail_core.system.installation import read_site
smtp.run(read_site({{b"EQMAIL_HOME": {home!r}.encode()}}), [SmtpListener(fileno={fd})])
"""
# Half a second of a processor, as a dear method of crypt(3) takes.
CHECKER = (
    "#!/usr/bin/python3 -IS\nimport time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass\n"
)
LOGIN = b"EHLO x\r\nAUTH PLAIN AGpvZQBzZWNyZXQ=\r\n"


class Service:
    """The process and its port."""

    def __init__(self, home: Path) -> None:
        sys.path.insert(0, str(ROOT))
        from eqmail_core.site.site_file import render_site
        from eqmail_core.site.site import Site

        for folder in ("control", "run", "users"):
            (home / folder).mkdir(parents=True)
        (home / "site").write_bytes(render_site(Site(home=str(home), single_user=True)))
        (home / "checker").write_text(CHECKER)
        (home / "checker").chmod(0o755)
        for name, text in {"me": "mx.test", "rcpthosts": "mx.test", "smtpcheckpw": f"{home}/checker"}.items():
            (home / "control" / name).write_text(text + "\n")
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        code = RUN.format(root=str(ROOT), home=str(home), fd=listener.fileno())
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], pass_fds=[listener.fileno()], stderr=subprocess.DEVNULL
        )
        listener.close()
        assert self.greeting_ms() is not None

    def connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def greeting_ms(self) -> float | None:
        """How long another client waits; None where it gets no greeting."""
        began = time.perf_counter()
        try:
            with socket.create_connection(("127.0.0.1", self.port), 60, source_address=("127.0.0.2", 0)) as sock:
                if not sock.recv(200).startswith(b"220"):
                    return None
        except OSError:
            return None
        return (time.perf_counter() - began) * 1000

    def memory_mb(self) -> float:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def children(self) -> int:
        pid = self.process.pid
        return len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())

    def end(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def send(sock: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        sock.sendall(data)


def pour(service: Service, data: bytes, reads: bool = False) -> list[socket.socket]:
    sock = service.connect()
    threading.Thread(target=send, args=(sock, data), daemon=True).start()
    if reads:
        threading.Thread(target=drain, args=(sock,), daemon=True).start()
    return [sock]


def drain(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while sock.recv(65536):
            pass


def crowd(service: Service, count: int, words: bytes) -> list[socket.socket]:
    socks = []
    for _ in range(count):
        sock = service.connect()
        if words:
            send(sock, words)
        socks.append(sock)
    return socks


ATTACKS: dict[str, Callable[[Service], list[socket.socket]]] = {
    "none": lambda service: [],
    "ehlo": lambda service: pour(service, b"EHLO x\r\n" * (26_000_000 // 8)),
    "newlines": lambda service: pour(service, b"\n" * 5_000_000),
    "noop": lambda service: pour(service, b"NOOP\r\n" * 2_000_000, reads=True),
    "auth": lambda service: crowd(service, 200, LOGIN),
    "idle": lambda service: crowd(service, 600, b""),
}


def measure(name: str, seconds: float) -> str:
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder, "home"))
        socks: list[socket.socket] = []
        try:
            attack = threading.Thread(target=lambda: socks.extend(ATTACKS[name](service)))
            attack.start()
            end = time.monotonic() + seconds
            found: list[float | None] = []
            children = descriptors = 0
            while time.monotonic() < end:
                found.append(service.greeting_ms())
                children = max(children, service.children())
                descriptors = max(descriptors, service.descriptors())
                time.sleep(0.02)
            attack.join(60)
            times = [one for one in found if one is not None] or [float("nan")]
            return (
                f"{name:9} greeting {statistics.median(times):8.1f} ms, worst {max(times):9.1f}, "
                f"none {len(found) - len([one for one in found if one is not None]):3d} of {len(found):3d}; "
                f"{service.memory_mb():6.1f} MB, {descriptors:4d} descriptors, {children:3d} children"
            )
        finally:
            service.end()
            for sock in socks:
                sock.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("attacks", nargs="*", help=", ".join(ATTACKS))
    words = parser.parse_args()
    for name in words.attacks or ATTACKS:
        print(measure(name, words.seconds), flush=True)


if __name__ == "__main__":
    main()
