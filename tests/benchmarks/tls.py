#!/usr/bin/env python3
"""What TLS costs, servers in turn in one run: 20 kept sessions plain and over STARTTLS, and 1 000 handshakes.

usage: tls.py [-r ROUNDS] [-n MESSAGES] [-c HANDSHAKES] DRIVER [DRIVER ...]     after setup.sh, as root

The client is ours, the same for every server: two processes of ten threads, TLS without resumption, one key for all
(ECDSA P-256).  Counted is acceptance, a 4 KiB message each; CPU is that of the server, from its cgroup.
"""

import argparse
import multiprocessing
import os
import socket
import ssl
import statistics
import subprocess
import threading
import time

import bench

KEYS = "/var/tmp/mta-lab/tls.pem"
LETTER = b"Subject: x\r\nFrom: sender@lab.test\r\n\r\n" + (b"x" * 70 + b"\r\n") * 56 + b".\r\n"
PROCESSES, THREADS = 2, 10


def make_keys() -> None:
    """A key and a certificate of its own for every server."""
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=mx.lab.test "
        f"-keyout {KEYS}.key -out {KEYS}.crt && cat {KEYS}.key {KEYS}.crt >{KEYS} && chmod 600 {KEYS}",
        shell=True,
        check=True,
        stderr=subprocess.DEVNULL,
    )
    os.environ["LAB_TLS"] = KEYS


class Client:
    """One connection."""

    def __init__(self, port: int, is_secure: bool) -> None:
        self.sock: socket.socket = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.expect(b"220")
        self.say(b"EHLO client.test", b"250")
        if is_secure:
            self.say(b"STARTTLS", b"220")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.sock = context.wrap_socket(self.sock)
            self.say(b"EHLO client.test", b"250")

    def expect(self, code: bytes) -> None:
        """Read one reply."""
        while True:
            line, end, rest = self.buffer.partition(b"\r\n")
            if not end:
                data = self.sock.recv(65536)
                assert data, "the server hung up"
                self.buffer += data
                continue
            self.buffer = rest
            if line[3:4] != b"-":
                assert line.startswith(code), line
                return

    def say(self, line: bytes, code: bytes) -> None:
        """A command and its reply."""
        self.sock.sendall(line + b"\r\n")
        self.expect(code)

    def send(self) -> None:
        """One message."""
        self.sock.sendall(b"MAIL FROM:<sender@lab.test>\r\nRCPT TO:<u1@lab.test>\r\nDATA\r\n")
        for code in (b"250", b"250", b"354"):
            self.expect(code)
        self.sock.sendall(LETTER)
        self.expect(b"250")


def work(port: int, count: int, is_secure: bool, kept: bool) -> None:
    """One process of the load: its share of messages, or of handshakes."""

    def thread(share: int) -> None:
        if kept:
            client = Client(port, is_secure)
            for _ in range(share):
                client.send()
            client.say(b"QUIT", b"221")
            return
        for _ in range(share):
            Client(port, True).say(b"QUIT", b"221")

    threads = [threading.Thread(target=thread, args=(count // THREADS,)) for _ in range(THREADS)]
    for it in threads:
        it.start()
    for it in threads:
        it.join()


def measure(driver: "bench.Driver", count: int, is_secure: bool, kept: bool) -> tuple[float, float]:
    """Messages or handshakes a second, and ms of the server's CPU for each."""
    bench.clean()
    before, start = sum(bench.cgcpu(bench.MTA)), time.monotonic()
    processes = [
        multiprocessing.Process(target=work, args=(driver.port, count // PROCESSES, is_secure, kept))
        for _ in range(PROCESSES)
    ]
    for it in processes:
        it.start()
    for it in processes:
        it.join()
    took = time.monotonic() - start
    assert not any(it.exitcode for it in processes), "a client failed"
    if kept:
        bench.wait_maildir(count, time.time(), 60)
    return count / took, (sum(bench.cgcpu(bench.MTA)) - before) * 1000 / count


def main() -> None:
    """Run all three loads against each server in turn, and print medians."""
    words = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    words.add_argument("-r", type=int, default=3)
    words.add_argument("-n", type=int, default=2000)
    words.add_argument("-c", type=int, default=1000)
    words.add_argument("drivers", nargs="+")
    given = words.parse_args()
    open(bench.LOAD + "/cgroup.procs", "w").write(str(os.getpid()))
    make_keys()
    loads = {
        "kept, plain": (given.n, False, True),
        "kept, TLS": (given.n, True, True),
        "handshakes": (given.c, True, False),
    }
    drivers = [bench.Driver(name) for name in given.drivers]
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(given.r):
        for driver in drivers:
            driver.stop()
            driver.start()
            try:
                for load, how in loads.items():
                    found.setdefault((load, driver.name), []).append(measure(driver, *how))
            finally:
                driver.stop()
    for (load, name), runs in found.items():
        rates, cpu = [rate for rate, _ in runs], [cost for _, cost in runs]
        print(
            f"{load:12} {name:8} {statistics.median(rates):7.0f}/s [{min(rates):.0f}-{max(rates):.0f}]  CPU {statistics.median(cpu):.2f} ms"
        )


if __name__ == "__main__":
    main()
