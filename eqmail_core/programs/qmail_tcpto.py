"""qmail-tcpto: print the remote hosts that timed out lately.

Exits: 0, 111 (reason on standard output, as in C).  Source: programs.md 1.9; qmail-tcpto(8).
"""

import os
import time
from ipaddress import ip_address

from eqmail_core.outcome import EXIT_TEMPORARY
from eqmail_core.remote.tcpto import TcptoFile
from eqmail_core.system.files import write_all
from eqmail_core.system.installation import read_site
from eqmail_core.text.error_text import error_text


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Print one line per host."""
    now = int(time.time())
    try:
        site = read_site(environ)
        os.chdir(site.queue.lock)
    except OSError as error:
        return _give_up(b"chdir", error)
    try:
        entries = TcptoFile(site.queue.tcpto).entries()
    except OSError as error:
        return _give_up(b"open tcpto", error)
    for entry in entries:
        if entry.count:
            host = str(ip_address(entry.ip))
            line = f"{host} timed out {now - entry.when} seconds ago; # recent timeouts: {entry.count}\n"
            write_all(1, line.encode())
    return 0


def _give_up(act: bytes, error: OSError) -> int:
    write_all(1, b"fatal: unable to %b: %b\n" % (act, error_text(error.errno)))
    return EXIT_TEMPORARY
