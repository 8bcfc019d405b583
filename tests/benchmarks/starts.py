#!/usr/bin/env python3
"""What a connection costs that a server starts a program for: from connect to the greeting, and on to the end of QUIT.

usage: starts.py [--connections 200] [--rounds 3]
A private installation is made and thrown away. Below real tcpserver, and below real xinetd with the files of
`eqmail gen-xinetd` (tcp-env, a script, splogger) and with nothing in between: qmail-smtpd that converses itself,
qmail-smtpd that hands over, and a static C program that says 220 and 221 and does nothing else. The last stands for a
server in C: it is the least that any could cost. One connection after the other; milliseconds, the least and the median
of the best round of each; and the CPU of the programs that were started per connection, which others on the machine
disturb less.
"""

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
C_SERVER = r"""
#include <string.h>
#include <unistd.h>
int main(void) {
    char word[256];
    write(1, "220 c.test ESMTP\r\n", 18);
    while (read(0, word, sizeof word) > 0)
        if (!strncmp(word, "QUIT", 4)) { write(1, "221 c.test\r\n", 12); return 0; }
    return 1;
}
"""
XINETD = """service bench
{{
    type = UNLISTED
    flags = NAMEINARGS
    socket_type = stream
    protocol = tcp
    port = {port}
    bind = 127.0.0.1
    wait = no
    user = root
    instances = 100
    cps = 10000 1
    per_source = 100
    server = {program}
    server_args = {words}
    env = {env}
}}
"""


def eqmail(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "eqmail_setup", *map(str, words)], check=True, cwd=ROOT, capture_output=True)


@contextmanager
def running(command: list[object], port: int = 0, **environ: str) -> Iterator[int]:
    variables = {"PATH": os.environ["PATH"]} | environ
    process = subprocess.Popen([str(word) for word in command], env=variables, start_new_session=True)
    try:
        while port:
            try:
                socket.create_connection(("127.0.0.1", port), 5).close()
                break
            except OSError:
                assert process.poll() is None, command
                time.sleep(0.05)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def cpu_s(server: int) -> float:
    """CPU seconds of a server and of all programs that it has started and buried."""
    fields = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


class Found(NamedTuple):
    """Milliseconds per connection: to the greeting, median and least; to the end, median; CPU of server and programs."""

    greeted: float
    least: float
    ended: float
    cpu: float


def measure(server: int, port: int, connections: int) -> Found:
    greeted, ended, before = [], [], cpu_s(server)
    for _ in range(connections):
        begun = time.perf_counter()
        with socket.create_connection(("127.0.0.1", port), 30) as sock:
            line = sock.recv(200)
            greeted.append((time.perf_counter() - begun) * 1000)
            assert line.startswith(b"220 "), line
            sock.sendall(b"QUIT\r\n")
            while sock.recv(200):
                pass
            ended.append((time.perf_counter() - begun) * 1000)
    time.sleep(0.3)  # until the last one is buried
    cpu = (cpu_s(server) - before) * 1000 / connections
    return Found(statistics.median(greeted), min(greeted), statistics.median(ended), cpu)


class Ways:
    """The ways to be measured, each running while it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        eqmail("--home", self.home, "setup", "--single-user")
        eqmail("--home", self.home, "config-fast", "mail.example.org")
        (self.home / "control/smtphandover").write_text("1\n")
        (folder / "c.c").write_text(C_SERVER)
        subprocess.run(["gcc", "-O2", "-static", "-w", "-o", folder / "c", folder / "c.c"], check=True)
        self.smtpd = self.home / "bin/qmail-smtpd"

    def services(self) -> AbstractContextManager[int]:
        """The MTA, for all ways."""
        return running([self.home / "bin/qmail-start", "./Maildir/", "cat"], PATH=f"{self.home}/bin:/usr/bin:/bin")

    @contextmanager
    def tcpserver(self, program: Path, hands_over: bool) -> Iterator[tuple[int, int]]:
        port = free_port()
        environ = {} if hands_over else {"NOHANDOVER": ""}
        with running(["tcpserver", "-HRl0", "-c", "100", "127.0.0.1", port, program], port, **environ) as server:
            yield server, port

    @contextmanager
    def bare_xinetd(self, program: Path, hands_over: bool) -> Iterator[tuple[int, int]]:
        port = free_port()
        env = "BENCH=1" if hands_over else "NOHANDOVER=1"
        text = XINETD.format(port=port, program=program, words=program.name, env=env)
        with self._xinetd(text, port) as server:
            yield server, port

    @contextmanager
    def generated_xinetd(self, program: Path, hands_over: bool) -> Iterator[tuple[int, int]]:
        port = free_port()
        place = self.folder / f"xinetd-{port}"
        pairs = {"folder": place, "address": "127.0.0.1", "port": port, "concurrency": 100, "per_source": 100}
        pairs |= {"handover": "yes" if hands_over else "no", "name": f"n{port}"}
        words = [word for key, value in pairs.items() for word in ("--set", f"{key}={value}")]
        eqmail("--home", self.home, "gen-xinetd", "--install", "--yes", *words)
        with self._xinetd(f"defaults\n{{\n cps = 10000 1\n}}\nincludedir {place}\n", port) as server:
            yield server, port

    @contextmanager
    def _xinetd(self, text: str, port: int) -> Iterator[int]:
        configuration = self.folder / f"xinetd-{port}.conf"
        configuration.write_text(text)
        with running(["xinetd", "-dontfork", "-f", configuration, "-pidfile", f"{configuration}.pid"], port) as server:
            yield server


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="eqmail-starts-") as folder, ExitStack() as stack:
        ways = Ways(Path(folder))
        c = ways.folder / "c"
        stack.enter_context(ways.services())
        rows = {
            "tcpserver, a C program": (ways.tcpserver, c, True),
            "tcpserver, handed over": (ways.tcpserver, ways.smtpd, True),
            "tcpserver, converses itself": (ways.tcpserver, ways.smtpd, False),
            "xinetd alone, a C program": (ways.bare_xinetd, c, True),
            "xinetd alone, handed over": (ways.bare_xinetd, ways.smtpd, True),
            "xinetd alone, converses itself": (ways.bare_xinetd, ways.smtpd, False),
            "gen-xinetd, handed over": (ways.generated_xinetd, ways.smtpd, True),
            "gen-xinetd, converses itself": (ways.generated_xinetd, ways.smtpd, False),
        }
        best: dict[str, Found] = {}
        for _ in range(words.rounds):
            for name, (way, program, hands_over) in rows.items():
                with way(program, hands_over) as (server, port):
                    measure(server, port, 5)
                    found = measure(server, port, words.connections)
                best[name] = min(best.get(name, found), found)
        print(
            "| way | 220 read, ms (least) | QUIT answered and closed, ms | CPU of the programs, ms |\n|---|---|---|---|"
        )
        for name, found in best.items():
            print(f"| {name} | {found.greeted:.1f} ({found.least:.1f}) | {found.ended:.1f} | {found.cpu:.1f} |")


if __name__ == "__main__":
    main()
