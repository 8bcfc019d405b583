"""The nodes and the two database servers of a cluster run, each a host of its own in a private network.

The clients and the sink are on the hub.  Nodes are on both networks, `mail` and `data`; the database servers are on
`data` alone, each with a small disk in memory: what is killed loses nothing that it wrote, and flushes cost nothing.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg

from eqmail_core.queue.postgres.schema import migrate
from tests.reliability.installation import Installation, NodePlace, installed
from tests.reliability.mounts import memory_folder, run
from tests.reliability.sink import Sink
from tests.support.database import Cluster, ClusterPlace, Pair, running_pair
from tests.support.mail_system import free_port
from tests.support.network import Host, private_network

NAMES = ("ann", "bob", "cis")
MAIL, DATA = "mail", "data"
DISK_MB = 700


class Node(NamedTuple):
    """A node; whoever does it harm holds `lock`."""

    name: str
    installation: Installation
    host: Host
    lock: threading.Lock

    @property
    def address(self) -> str:
        """The address that the sink sees."""
        return self.host.address(MAIL)


class Server(NamedTuple):
    """The host and the disk of a cluster."""

    host: Host
    disk: Path


class Bed(NamedTuple):
    """All of it; `servers` by the folder of their cluster."""

    nodes: list[Node]
    pair: Pair
    servers: dict[Path, Server]
    sink: Sink

    def server(self, cluster: Cluster) -> Server:
        """The host and the disk of one of the pair."""
        return self.servers[cluster.folder]


@contextmanager
def cluster_bed(folder: Path, seed: int) -> Iterator[Bed]:
    """Three nodes that do not run yet, on a primary and a standby that do."""
    with ExitStack() as stack:
        network = stack.enter_context(private_network(DATA, MAIL))
        sink = stack.enter_context(Sink(free_port(), seed, address=network.address(MAIL)))
        servers = {}
        places = []
        for name in ("one", "two"):
            host = network.host()
            disk = stack.enter_context(memory_folder(folder / name, DISK_MB))
            servers[disk / "pg"] = Server(host, disk)
            places.append(ClusterPlace(disk / "pg", host.address(DATA), host.enter))
        pair = stack.enter_context(running_pair(places[0], places[1]))
        with psycopg.connect(pair.conninfo, autocommit=True) as connection:
            migrate(connection)
        nodes: list[Node] = []
        for name in NAMES:
            host = network.host()
            place = NodePlace(host.address(MAIL), network.address(MAIL), host.enter)
            node = stack.enter_context(installed(folder / name, sink.port, place, queuenode=name))
            with (node.home / "site").open("a") as site:
                site.write(f"queue postgresql:{pair.conninfo}\n")
            if nodes:  # all deliver into the mailboxes of the first
                assign = node.home / "users/assign"
                assign.write_text(assign.read_text().replace(str(node.people), str(nodes[0].installation.people)))
                run(node.home / "bin/qmail-newu")
            nodes.append(Node(name, node, host, threading.Lock()))
        yield Bed(nodes, pair, servers, sink)
