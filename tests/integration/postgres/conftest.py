"""A PostgreSQL for the tests of a module, and an empty queue in it for each."""

from collections.abc import Callable, Iterator

import pytest

from eqmail_core.queue.postgres.connection import DatabaseConnection
from eqmail_core.queue.postgres.database import NodeIdentity, QueueDatabase
from tests.support.database import Cluster

Node = Callable[[str], QueueDatabase]


@pytest.fixture
def queue(cluster: Cluster) -> Cluster:
    """The cluster with empty tables."""
    cluster.empty_tables()
    return cluster


@pytest.fixture
def node(queue: Cluster) -> Iterator[Node]:
    """Makes nodes with a connection each, which have begun their first epoch and hold a lease."""
    made: list[QueueDatabase] = []

    def make(name: str) -> QueueDatabase:
        database = QueueDatabase(DatabaseConnection(queue.conninfo, name), NodeIdentity())
        database.start(name, "test")
        database.beat(60, 0)
        made.append(database)
        return database

    yield make
    for database in made:
        database.connection.close()
