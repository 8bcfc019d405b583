"""A private PostgreSQL: a cluster below a folder, run by its own account where root tests; and a pair of them.

A cluster listens on a socket in its folder, and on an address where it has one.
The fixture `cluster` of tests/conftest.py makes one.
"""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import glob
from pathlib import Path
from typing import ClassVar, NamedTuple
from weakref import WeakSet

import psycopg

from eqmail_core.queue.postgres.schema import migrate

ACCOUNT = "postgres"
USER = "eqmail"
PORT = 5432
_COMMAND_S = 300


def programs() -> str | None:
    """The folder with initdb and pg_ctl of the newest PostgreSQL of this machine."""
    found = sorted(glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[-2]))
    which = shutil.which("initdb")
    return found[-1] if found else os.path.dirname(which) if which else None


class ClusterPlace(NamedTuple):
    """Where a cluster is: below `folder`, at `address`, if it has one, in a namespace that `enter` begins."""

    folder: Path
    address: str = ""
    enter: tuple[str, ...] = ()


class Cluster:
    """A PostgreSQL below `folder`, stopped and started by the test.  `settings`: lines of postgresql.conf.

    `source`: the running cluster that it follows as a standby.
    """

    all: ClassVar["WeakSet[Cluster]"] = WeakSet()
    """Those of this process."""

    def __init__(
        self, folder: Path, *settings: str, place: ClusterPlace | None = None, source: "Cluster | None" = None
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        Cluster.all.add(self)
        self._place = place or ClusterPlace(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            account = pwd.getpwnam(ACCOUNT)
            os.chown(folder, account.pw_uid, account.pw_gid)
            for parent in folder.parents:
                if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
                    parent.chmod(parent.stat().st_mode | 0o011)
        if source is None:
            self.run("initdb", "-D", str(self.data), "-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C", "-N")
            with (self.data / "pg_hba.conf").open("a") as access:
                access.write("host all all samenet trust\nhost replication all samenet trust\n")
        else:
            where = f"host={source.host} user={USER}"
            self.run("pg_basebackup", "-D", str(self.data), "-d", where, "-R", "-X", "stream", "-c", "fast", "-N")
        lines = [
            f"listen_addresses = '{self._place.address}'",
            f"unix_socket_directories = '{folder}'",
            "max_connections = 60",
            *settings,
        ]
        with (self.data / "postgresql.conf").open("a") as config:
            config.write("\n".join(lines) + "\n")

    @property
    def host(self) -> str:
        """Where libpq finds it: its address, or the folder of its socket."""
        return self._place.address or str(self.folder)

    @property
    def conninfo(self) -> str:
        """How libpq connects to it."""
        return f"host={self.host} user={USER} dbname=postgres"

    def run(self, program: str, *words: str) -> None:
        """Run one of its programs as its account."""
        folder = programs()
        assert folder is not None
        command = [f"{folder}/{program}", *words]
        if os.geteuid() == 0:
            command = ["setpriv", f"--reuid={ACCOUNT}", f"--regid={ACCOUNT}", "--init-groups", *command]
        command = [*self._place.enter, *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, timeout=_COMMAND_S)

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

    def promote(self) -> None:
        """Make a standby the primary."""
        self.run("pg_ctl", "-D", str(self.data), "-w", "-t", "240", "promote")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes, the parent first."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """Kill all of its processes: a power cut of the machine, without the loss of what was not flushed."""
        killed: set[int] = set()
        while pids := [*self.processes(), *(pid for pid in killed if os.path.exists(f"/proc/{pid}/exe"))]:
            killed.update(pids)
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        # They name a process whose number another one may have by now; then it would not start.
        for path in (self.data / "postmaster.pid", *self.folder.glob(".s.PGSQL.*.lock")):
            path.unlink(missing_ok=True)

    @property
    def is_up(self) -> bool:
        """Whether its parent process runs."""
        return bool(self.processes())

    def processes(self) -> list[int]:
        """Its processes, the parent first; none where it does not run."""
        try:
            parent = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
            os.kill(parent, 0)
        except (OSError, ValueError):
            return []
        with suppress(OSError):
            if Path(f"/proc/{parent}/cwd").readlink() != self.data:
                return []
            stat = Path(f"/proc/{parent}/stat").read_text().rsplit(")", 1)[1]
            if stat.split()[0] == "Z":
                return []
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text()
            return [parent, *map(int, children.split())]
        return []

    def execute(self, text: str) -> list[tuple[object, ...]]:
        """Run a statement on a connection of its own."""
        with psycopg.connect(self.conninfo, autocommit=True, connect_timeout=10) as connection:
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


class Pair:
    """A primary whose commits wait for its standby; after a failover the standby is the primary.

    The former primary never returns as one: it is killed before the promotion, and made anew as a standby.
    """

    SETTINGS = ("synchronous_standby_names = '*'", "wal_keep_size = '32MB'", "max_wal_size = '96MB'")

    def __init__(self, first: ClusterPlace, second: ClusterPlace, *settings: str) -> None:
        self._settings = (*self.SETTINGS, *settings)
        self._places = {place.folder: place for place in (first, second)}
        self.primary = Cluster(first.folder, *self._settings, place=first)
        self.primary.start()
        self.standby = self._follower(second)

    @property
    def conninfo(self) -> str:
        """How libpq connects to the one that can be written to, wherever that is."""
        hosts = ",".join(place.address or str(place.folder) for place in self._places.values())
        return f"host={hosts} user={USER} dbname=postgres target_session_attrs=read-write connect_timeout=5"

    def fail_over(self) -> None:
        """Kill the primary and promote the standby, which has no standby then: its commits wait for one."""
        self.primary.kill()
        self.promote()

    def promote(self) -> None:
        """Promote the standby; what was the primary must be killed before anybody reaches it again."""
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary

    def renew_standby(self) -> None:
        """Make the standby anew from the primary."""
        self.standby.kill()
        shutil.rmtree(self.standby.data)
        self.standby = self._follower(self._places[self.standby.folder])

    def is_synchronous(self) -> bool:
        """Whether a standby confirms commits."""
        state = self.primary.execute("select count(*) from pg_stat_replication where sync_state = 'sync'")
        return state == [(1,)]

    def kill(self) -> None:
        """End both."""
        self.standby.kill()
        self.primary.kill()

    def _follower(self, place: ClusterPlace) -> Cluster:
        made = Cluster(place.folder, *self._settings, place=place, source=self.primary)
        made.start()
        return made


@contextmanager
def running_pair(first: ClusterPlace, second: ClusterPlace, *settings: str) -> Iterator[Pair]:
    """A pair that runs until the end."""
    pair = Pair(first, second, *settings)
    try:
        yield pair
    finally:
        pair.kill()
