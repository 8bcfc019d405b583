"""A private PostgreSQL: a cluster below a folder, on a socket in it, run by its own account where root tests.

The fixture `cluster` of tests/conftest.py makes one.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path

import psycopg

from eqmail_core.queue.postgres.schema import migrate

ACCOUNT = "postgres"


def programs() -> str | None:
    """The folder with initdb and pg_ctl of the newest PostgreSQL of this machine."""
    found = sorted(glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[-2]))
    which = shutil.which("initdb")
    return found[-1] if found else os.path.dirname(which) if which else None


class Cluster:
    """A PostgreSQL below `folder`, stopped and started by the test.  `settings`: lines of postgresql.conf."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            account = pwd.getpwnam(ACCOUNT)
            os.chown(folder, account.pw_uid, account.pw_gid)
            for parent in folder.parents:
                if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
                    parent.chmod(parent.stat().st_mode | 0o011)
        self.run("initdb", "-D", str(self.data), "-A", "trust", "-U", "eqmail", "-E", "UTF8", "--locale=C", "-N")
        lines = ["listen_addresses = ''", f"unix_socket_directories = '{folder}'", "max_connections = 60", *settings]
        with (self.data / "postgresql.conf").open("a") as config:
            config.write("\n".join(lines) + "\n")

    @property
    def conninfo(self) -> str:
        """How libpq connects to it."""
        return f"host={self.folder} user=eqmail dbname=postgres"

    def run(self, program: str, *words: str) -> None:
        """Run one of its programs as its account."""
        folder = programs()
        assert folder is not None
        command = [f"{folder}/{program}", *words]
        if os.geteuid() == 0:
            command = ["setpriv", f"--reuid={ACCOUNT}", f"--regid={ACCOUNT}", "--init-groups", *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, timeout=300)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.run("pg_ctl", "-D", str(self.data), "-l", str(self.folder / "log"), "-w", "-t", "240", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it; `immediate` is a crash."""
        self.run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "-t", "240", "stop")

    def empty_tables(self) -> None:
        """Make the tables of a queue anew."""
        self.execute("drop schema public cascade; create schema public")
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            migrate(connection)

    def execute(self, text: str) -> list[tuple[object, ...]]:
        """Run a statement on a connection of its own."""
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            cursor = connection.execute(text)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description is not None else []


@contextmanager
def running_cluster(folder: Path, *settings: str) -> Iterator[Cluster]:
    """A cluster that runs until the end."""
    cluster = Cluster(folder, *settings)
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop("immediate")
