#!/usr/bin/env python3
"""What a connection costs that a server starts a program for: from connect to the greeting, and on to the end of QUIT.

usage: starts.py [--connections 200] [--rounds 3]
A private installation is made and thrown away. Below real tcpserver, and below real xinetd with the files of
`eqmail gen-xinetd` (tcp-env, a script, splogger) and with nothing in between: qmail-smtpd that converses itself,
qmail-smtpd that hands over, and a static C program that says 220 and 221 and does nothing else. The last stands for a
server in C: it is the least that any could cost. One connection after the other; milliseconds, median and the ninth of
ten, the best round of each; and CPU of the whole machine per connection, which knows nothing of who else is busy.
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
from contextlib import ExitStack, contextmanager
from pathlib import Path

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
def running(command: list[object], port: int = 0, **environ: str) -> Iterator[None]:
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
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def busy_s() -> float:
    """CPU seconds that this machine was busy."""
    times = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    return (sum(times[:8]) - times[3] - times[4]) / os.sysconf("SC_CLK_TCK")


def measure(port: int, connections: int) -> tuple[float, float, float, float]:
    """Median and ninth of ten until the greeting, median until the end, in ms; busy ms of the machine."""
    greeted, ended, before = [], [], busy_s()
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
    busy = (busy_s() - before) * 1000 / connections
    return statistics.median(greeted), statistics.quantiles(greeted, n=10)[8], statistics.median(ended), busy


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

    def services(self) -> "contextmanager[None]":  # type: ignore[valid-type]
        return running([self.home / "bin/qmail-start", "./Maildir/", "cat"], PATH=f"{self.home}/bin:/usr/bin:/bin")

    @contextmanager
    def tcpserver(self, program: Path, hands_over: bool) -> Iterator[int]:
        port = free_port()
        environ = {} if hands_over else {"NOHANDOVER": ""}
        with running(["tcpserver", "-HRl0", "-c", "100", "127.0.0.1", port, program], port, **environ):
            yield port

    @contextmanager
    def bare_xinetd(self, program: Path, hands_over: bool) -> Iterator[int]:
        port = free_port()
        env = "BENCH=1" if hands_over else "NOHANDOVER=1"
        text = XINETD.format(port=port, program=program, words=program.name, env=env)
        with self._xinetd(text, port):
            yield port

    @contextmanager
    def generated_xinetd(self, program: Path, hands_over: bool) -> Iterator[int]:
        port = free_port()
        place = self.folder / f"xinetd-{port}"
        pairs = {"folder": place, "address": "127.0.0.1", "port": port, "concurrency": 100, "per_source": 100}
        pairs |= {"handover": "yes" if hands_over else "no", "name": f"n{port}"}
        words = [word for key, value in pairs.items() for word in ("--set", f"{key}={value}")]
        eqmail("--home", self.home, "gen-xinetd", "--install", "--yes", *words)
        with self._xinetd(f"defaults\n{{\n cps = 10000 1\n}}\nincludedir {place}\n", port):
            yield port

    @contextmanager
    def _xinetd(self, text: str, port: int) -> Iterator[None]:
        configuration = self.folder / f"xinetd-{port}.conf"
        configuration.write_text(text)
        with running(["xinetd", "-dontfork", "-f", configuration, "-pidfile", f"{configuration}.pid"], port):
            yield


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
        best: dict[str, tuple[float, float, float, float]] = {}
        for _ in range(words.rounds):
            for name, (way, program, hands_over) in rows.items():
                with way(program, hands_over) as port:
                    measure(port, 5)
                    found = measure(port, words.connections)
                best[name] = min(best.get(name, found), found)
        print("| way | 220 read, ms (9 of 10 within) | QUIT answered and closed, ms | busy, ms |\n|---|---|---|---|")
        for name, (greeted, most, ended, busy) in best.items():
            print(f"| {name} | {greeted:.1f} ({most:.1f}) | {ended:.1f} | {busy:.1f} |")


if __name__ == "__main__":
    main()
