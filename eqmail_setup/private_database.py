"""A PostgreSQL for one demonstration, below a folder, at a socket in it.

It runs as the caller, or, because PostgreSQL refuses root, as its own account.

Fails: EqmailError where PostgreSQL or its account is missing, or one of its programs fails.
"""

import os
import pwd
import shutil
import subprocess
from glob import glob
from pathlib import Path

from eqmail_setup.errors import EqmailError

DATABASE_ACCOUNT = "postgres"


class PrivateDatabase:
    """A PostgreSQL below `folder`, which only its account and root reach."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._programs = find_programs()
        self._account: pwd.struct_passwd | None = None
        if os.geteuid() == 0:
            try:
                self._account = pwd.getpwnam(DATABASE_ACCOUNT)
            except KeyError:
                raise EqmailError(
                    f"account {DATABASE_ACCOUNT!r}: unknown; PostgreSQL does not run as root",
                    hint=("apt-get", "install", "postgresql"),
                ) from None

    @property
    def conninfo(self) -> str:
        """How libpq connects to it."""
        return f"host={self.folder} user=eqmail dbname=postgres"

    def start(self) -> None:
        """Make it and start it."""
        self.folder.mkdir(mode=0o700)
        if self._account is not None:
            os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
        self._run("initdb", "-A", "trust", "-U", "eqmail", "-E", "UTF8", "--locale=C", "-N")
        options = f"-c listen_addresses= -k {self.folder}"
        self._run("pg_ctl", "-l", f"{self.folder}/log", "-o", options, "-w", "start")

    def stop(self) -> None:
        """Stop it, if it runs."""
        if (self.folder / "data/postmaster.pid").exists():
            self._run("pg_ctl", "-m", "immediate", "-w", "stop")

    def _run(self, program: str, *words: str) -> None:
        command = [f"{self._programs}/{program}", "-D", f"{self.folder}/data", *words]
        account = self._account
        with open(os.devnull, "r+b") as nothing:
            ended = subprocess.run(
                command,
                stdin=nothing,
                stdout=nothing,
                stderr=subprocess.PIPE if program == "initdb" else nothing,
                cwd=self.folder,
                check=False,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            )
        if ended.returncode:
            text = (ended.stderr or b"").decode(errors="replace").strip().splitlines()
            raise EqmailError(f"{program} ended with exit code {ended.returncode}: {' / '.join(text[-3:])}")


def find_programs() -> str:
    """Return the folder with initdb and pg_ctl of the newest PostgreSQL.  Fails: EqmailError."""
    debian = sorted(glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda path: int(path.split("/")[-3]))
    found = debian[-1] if debian else shutil.which("initdb")
    if found is None:
        raise EqmailError("initdb of PostgreSQL is not installed", hint=("apt-get", "install", "postgresql"))
    return os.path.dirname(found)
