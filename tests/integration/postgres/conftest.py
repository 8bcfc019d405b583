"""A PostgreSQL for the tests of a module, and an empty queue in it for each."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from eqmail_core.queue.postgres.connection import DatabaseConnection
from eqmail_core.queue.postgres.database import NodeIdentity, QueueDatabase
from eqmail_core.queue.postgres.schema import migrate
from tests.support.database import Cluster, programs, running_cluster

Node = Callable[[str], QueueDatabase]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if programs() is None:
        pytest.skip("needs PostgreSQL")
    with running_cluster(tmp_path_factory.mktemp("pg"), "fsync = off") as made:
        yield made


@pytest.fixture
def queue(cluster: Cluster) -> Cluster:
    """The cluster with empty tables."""
    with psycopg.connect(cluster.conninfo, autocommit=True) as connection:
        connection.execute("drop schema public cascade")
        connection.execute("create schema public")
        migrate(connection)
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
