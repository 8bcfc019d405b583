"""qmail-rspawn as in C: one qmail-remote per delivery, on the pipes of a classic qmail-send.

Source: queue.md 3.11; qmail-rspawn.c.
"""

import os
import pwd
from functools import partial

from eqmail_core.outcome import EXIT_PERMANENT, EXIT_TEMPORARY
from eqmail_core.remote.report import report_of_run
from eqmail_core.remote.settings import SUBSTITUTE_VARIABLE
from eqmail_core.remote.tcpto import TcptoCache
from eqmail_core.site.site import Site
from eqmail_core.spawn.protocol import Command
from eqmail_core.spawn.spawner import ClassicSpawner
from eqmail_core.text.error_text import is_temporary


def run(site: Site, environ: dict[bytes, bytes]) -> None:
    """Serve descriptors 0 and 1 until the input ends.

    Fails: OSError; KeyError if the queue's owner does not exist.
    """
    owner = os.getuid() if site.single_user else pwd.getpwnam(site.accounts.user("qmailq")).pw_uid
    os.chdir(f"{site.queue.root}/mess")
    TcptoCache(site.queue.tcpto).clear()
    program = environ.get(SUBSTITUTE_VARIABLE) or _installed(site)
    environ = environ | {b"PATH": environ.get(b"PATH", os.defpath.encode()) + b":" + os.fsencode(site.bin)}

    def act(command: Command) -> int:
        host = command.recipient.rpartition(b"@")[2]
        try:
            os.execvpe(program, [program, host, command.sender, command.recipient], environ)
        except OSError as error:
            return EXIT_TEMPORARY if is_temporary(error) else EXIT_PERMANENT

    ClassicSpawner(site.spawn, owner, act, partial(report_of_run, os.path.basename(program))).run()


def _installed(site: Site) -> bytes:
    name = b"qmail-bfrmt"
    return name if os.path.exists(os.fsencode(site.bin) + b"/" + name) else b"qmail-remote"
