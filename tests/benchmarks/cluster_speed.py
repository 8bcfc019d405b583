#!/usr/bin/env python3
"""What a queue in PostgreSQL costs beside one in a directory, and what several nodes on one database do.

    python -m tests.benchmarks.cluster_speed [--messages 3000] [--share 0.25]

Needs root, PostgreSQL and a quiet machine; about three minutes.  A real installation, messages of 4 KiB into one Maildir,
clients that keep their sessions and pipeline.  Accepted is when the clients have all replies; delivered is when all
messages are files and nothing is in the queue.

store   one node, its queue in a directory, in PostgreSQL, in PostgreSQL with a synchronous standby on the same disk;
        1, 20 and 100 sessions
nodes   one, two and three nodes on one database, 20 sessions each, each node held to `share` of a processor, as if it
        were a machine of its own; so the sum grows until the database or the processors are the limit

CPU is of all processes of the nodes, and of PostgreSQL, in ms a message; flushes are those of the disk, commits and
write-ahead log those of the primary, a message.
"""

import argparse
import os
import selectors
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg

from eqmail_core.queue.postgres.schema import migrate
from tests.reliability.installation import Installation, installed
from tests.reliability.load import ME, USER
from tests.reliability.mounts import run
from tests.support.database import Cluster, ClusterPlace, Pair

SESSIONS = (1, 20, 100)
LIMIT_S = 120
BODY = b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" + b"0123456789abcdef" * 250 + b"\r\n.\r\n"
COMMANDS = f"MAIL FROM:<a@example.net>\r\nRCPT TO:<{USER}@{ME}>\r\nDATA\r\n".encode()
CONTROLS = {"smtpperaddress": "0", "concurrencylocal": "100"}
GROUPS = Path("/sys/fs/cgroup/cpu")
_DONE = """
select (select sum(xact_commit) from pg_stat_database)::int8, (pg_current_wal_lsn() - '0/0')::int8
"""
TICK = os.sysconf("SC_CLK_TCK")
HEADS = ("", "sessions", "messages", "accepted/s", "delivered/s", "eqmail ms", "postgres ms", "flushes", "processors", "commits", "WAL KiB")


class Client:
    """One session: greeting, HELO, then messages, each as soon as the one before is accepted."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.replies = self.socket.makefile("rb")
        assert self.replies.readline().startswith(b"220")
        self.socket.sendall(b"HELO client\r\n")
        assert self.replies.readline().startswith(b"250")
        self.expected = 0

    def begin(self) -> None:
        """Send a message's commands."""
        self.socket.sendall(COMMANDS)
        self.expected = 4

    def proceed(self) -> bool:
        """Read what came; True when the message is accepted."""
        data = self.socket.recv(65536)
        assert data, "the server hung up"
        for line in data.splitlines():
            assert line[:1] in (b"2", b"3"), line
            self.expected -= 1
            if self.expected == 1:
                self.socket.sendall(BODY)
        return self.expected == 0


def offer(ports: list[int], sessions: int, count: int) -> float:
    """Send messages over so many sessions to each port; return how long it took."""
    clients = [Client(port) for port in ports for _ in range(sessions)]
    left = count
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
        began = time.monotonic()
        busy = 0
        for client in clients[:left]:
            client.begin()
            left -= 1
            busy += 1
        while busy:
            for key, _ in selector.select(LIMIT_S):
                if key.data.proceed():
                    busy -= 1
                    if left:
                        key.data.begin()
                        left -= 1
                        busy += 1
        took = time.monotonic() - began
    for client in clients:
        client.replies.close()
        client.socket.close()
    return took


class Use(NamedTuple):
    """Seconds of CPU of eqmail, of PostgreSQL and of all processors; flushes of the disk; what the database did."""

    eqmail: float
    postgres: float
    all: float
    flushes: int
    commits: int
    wal_bytes: int


class Bench:
    """Nodes, with the databases of their queue, if any; `people`: where all mail arrives."""

    def __init__(self, nodes: list[Installation], databases: list[Cluster]) -> None:
        self.nodes = nodes
        self.databases = databases
        self.new = nodes[0].people / "Maildir/new"

    def measure(self, name: str, sessions: int, count: int) -> list[str]:
        """Send messages, wait for all; the cells of a row."""
        before, there = self.use(), len(os.listdir(self.new))
        began = time.monotonic()
        accepted_s = offer([node.port for node in self.nodes], sessions, count)
        while len(os.listdir(self.new)) < there + count or not self.is_empty():
            assert time.monotonic() < began + LIMIT_S, "messages do not arrive"
            time.sleep(0.02)
        took_s = time.monotonic() - began
        used = [after - start for after, start in zip(self.use(), before, strict=True)]
        figures = [
            f"{count / accepted_s:.0f}",
            f"{count / took_s:.0f}",
            f"{1000 * used[0] / count:.2f}",
            f"{1000 * used[1] / count:.2f}",
            f"{used[3] / count:.2f}",
            f"{used[2] / took_s:.1f}",
            f"{used[4] / count:.2f}",
            f"{used[5] / count / 1024:.1f}",
        ]
        return [name, str(sessions * len(self.nodes)), str(count), *figures]

    def is_empty(self) -> bool:
        """Whether nothing is in a queue in a database."""
        return not self.databases or self.databases[0].execute("select count(*) from message") == [(0,)]

    def use(self) -> Use:
        """What was used until now."""
        pids = [pid for node in self.nodes for pid in node.processes()]
        databases = [pid for database in self.databases for pid in database.processes()]
        busy = sum(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:4])) / TICK
        done = (0, 0)
        if self.databases:
            ((commits, wal),) = self.databases[0].execute(_DONE)
            done = int(str(commits)), int(str(wal))
        return Use(sum(map(_cpu, pids)), sum(map(_cpu, databases)), busy, _flushes(self.new), *done)


def _cpu(pid: int) -> float:
    """Seconds of a process and of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICK


def _flushes(path: Path) -> int:
    device = path.stat().st_dev
    for line in Path("/proc/diskstats").read_text().splitlines():
        fields = line.split()
        if [int(fields[0]), int(fields[1])] == [os.major(device), os.minor(device)] and len(fields) > 18:
            return int(fields[18])
    return 0


@contextmanager
def databases(folder: Path, kind: str) -> Iterator[tuple[list[Cluster], str]]:
    """What a kind of store needs: its clusters, the primary first, and the line of the site file."""
    if kind == "directory":
        yield [], ""
        return
    places = [ClusterPlace(folder / "pg1"), ClusterPlace(folder / "pg2")]
    settings = ("shared_buffers = '256MB'", "max_wal_size = '2GB'", "max_connections = 100")
    made: list[Cluster] = []
    try:
        if kind == "postgresql + standby":
            pair = Pair(*places, *settings)
            made += [pair.primary, pair.standby]
        else:
            made.append(Cluster(places[0].folder, *settings))
            made[0].start()
        with psycopg.connect(made[0].conninfo, autocommit=True) as connection:
            migrate(connection)
        yield made, f"queue postgresql:{made[0].conninfo}\n"
    finally:
        for cluster in reversed(made):
            cluster.kill()


@contextmanager
def bench(folder: Path, kind: str, names: tuple[str, ...] = ("ann",)) -> Iterator[Bench]:
    """Running nodes with a store of a kind and one Maildir."""
    folder.mkdir(mode=0o755)
    with ExitStack() as stack:
        clusters, site = stack.enter_context(databases(folder, kind))
        nodes: list[Installation] = []
        for name in names:
            node = stack.enter_context(installed(folder / name, 9, queuenode=name, **CONTROLS))
            with (node.home / "site").open("a") as file:
                file.write(site)
            assign = node.home / "users/assign"
            if nodes:
                assign.write_text(assign.read_text().replace(str(node.people), str(nodes[0].people)))
                run(node.home / "bin/qmail-newu")
            node.start()
            nodes.append(node)
        it = Bench(nodes, clusters)
        _wait_until_accepting(it)
        yield it


def _wait_until_accepting(running: Bench) -> None:
    """Send one message to each node, as soon as it takes mail."""
    for node in running.nodes:
        deadline = time.monotonic() + LIMIT_S
        while True:
            try:
                offer([node.port], 1, 1)
                break
            except (AssertionError, OSError):
                assert time.monotonic() < deadline, node.log()[-2000:]
                time.sleep(0.2)
    running.measure("first", 20, 200 * len(running.nodes))


@contextmanager
def held_to(share: float, running: Bench) -> Iterator[None]:
    """Give each node so much of a processor.  Needs cgroups of version 1."""
    with ExitStack() as stack:
        for number, node in enumerate(running.nodes):
            group = GROUPS / f"eqmail-bench-{os.getpid()}-{number}"
            group.mkdir()
            stack.callback(group.rmdir)
            (group / "cpu.cfs_period_us").write_text("20000")
            (group / "cpu.cfs_quota_us").write_text(str(int(20000 * share)))
            stack.callback(_move_all, group, GROUPS)
            for pid in node.processes():
                (group / "cgroup.procs").write_text(str(pid))
        yield


def _move_all(source: Path, target: Path) -> None:
    for pid in (source / "cgroup.procs").read_text().split():
        (target / "cgroup.procs").write_text(pid)
    deadline = time.monotonic() + 5
    while (source / "cgroup.procs").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)


def show(cells: list[str] | tuple[str, ...]) -> None:
    """Print a row."""
    print(f"{cells[0]:34}" + "".join(f"{cell:>12}" for cell in cells[1:]), flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--share", type=float, default=0.25)
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="eqmail-bench-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        show(HEADS)
        for kind in ("directory", "postgresql", "postgresql + standby"):
            with bench(folder / kind.replace(" ", ""), kind) as it:
                for sessions in SESSIONS:
                    show(it.measure(kind, sessions, max(1, words.messages // (6 if sessions == 1 else 1))))
        for count, names in enumerate((("ann",), ("ann", "bob"), ("ann", "bob", "cis")), 1):
            with bench(folder / f"nodes{count}", "postgresql", names) as it:
                name = f"{count} nodes of {words.share:g} processors"
                if GROUPS.is_dir():
                    with held_to(words.share, it):
                        show(it.measure(name, 20, words.messages // 2 * count))
                show(it.measure(f"{count} nodes", 20, words.messages))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
