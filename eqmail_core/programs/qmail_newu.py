"""qmail-newu: make users/cdb from users/assign.

Exits: 0, 111.  Source: delivery.md 5.1; qmail-newu(8).
"""

import os

from eqmail_core.outcome import EXIT_TEMPORARY
from eqmail_core.system.cdb import CdbNotWritten
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import log_line
from eqmail_core.users.assign_file import BadAssign
from eqmail_core.users.database import assign_path, compile_users

_NOT_WRITTEN = {
    "create": "unable to open {0}/cdb.tmp",
    "write": "unable to write {0}/cdb.tmp",
    "move": "unable to move {0}/cdb.tmp to {0}/cdb",
}


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Compile; the old database stays in force until the new one is complete."""
    site = read_site(environ)
    users = site.layout.users
    os.umask(0o033)
    if not os.path.isdir(site.home):
        return _die("unable to chdir")
    problem = f"unable to open {users}/assign"
    try:
        with open(assign_path(site), "rb", buffering=1 << 16) as assign:
            problem = f"unable to read {users}/assign"
            compile_users(site, assign)
    except BadAssign:
        return _die(f"bad format in {users}/assign")
    except CdbNotWritten as failure:
        return _die(_NOT_WRITTEN[failure.step].format(users))
    except OSError:
        return _die(problem)
    return 0


def _die(text: str) -> int:
    log_line("qmail-newu", f"fatal: {text}")
    return EXIT_TEMPORARY
