"""qmail-tcpok: forget the remote hosts that timed out lately.

Exits: 0, 111.  Source: programs.md 1.9; qmail-tcpok(8).
"""

import os

from eqmail_core.outcome import EXIT_TEMPORARY
from eqmail_core.remote.tcpto import TcptoFile
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import log_line
from eqmail_core.text.error_text import error_text


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Clear the table."""
    queue = read_site(environ).queue
    problem = f"unable to chdir to {queue.lock}"
    try:
        os.stat(f"{queue.lock}/.")
        problem = f"unable to write {queue.tcpto}"
        TcptoFile(queue.tcpto).clear()
    except OSError as error:
        log_line("qmail-tcpok", os.fsencode(f"fatal: {problem}: ") + error_text(error.errno))
        return EXIT_TEMPORARY
    return 0
