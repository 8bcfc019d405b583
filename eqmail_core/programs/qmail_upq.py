"""qmail-upq: after a change of the split, put the files of the queue where their numbers demand.

Exits: 0, 111.  Source: programs.md 1.3; qmail-upq(8).
"""

from eqmail_core.outcome import EXIT_TEMPORARY
from eqmail_core.queue.admin.repair import resplit
from eqmail_core.queue.lock import QueueInUse, lock_scheduling
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import log_line
from eqmail_core.text.error_text import error_text


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Move what lies in a wrong folder."""
    site = read_site(environ)
    try:
        lock_scheduling(site.queue)
        resplit(site)
    except QueueInUse:
        log_line("qmail-upq", "fatal: qmail-send is running, stop it first")
        return EXIT_TEMPORARY
    except OSError as error:
        log_line("qmail-upq", b"fatal: unable to sort the queue: " + error_text(error.errno))
        return EXIT_TEMPORARY
    return 0
