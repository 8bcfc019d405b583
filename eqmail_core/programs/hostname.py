"""hostname [-s]: print the name of this host; in the layout of eQmail 1.11 the canonical one, with -s never.

Exits: 0.  Source: programs.md 1.3 (hostname.c).
"""

import os
import socket

from eqmail_core.outcome import EXIT_DONE
from eqmail_core.site.layout import EQMAIL_111
from eqmail_core.system.files import write_all
from eqmail_core.system.installation import read_site


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Print it."""
    name = os.uname().nodename
    if b"-s" not in argv[1:] and read_site(environ).layout.name == EQMAIL_111.name:
        try:
            name = socket.gethostbyname_ex(name)[0]
        except OSError:
            pass
    write_all(1, os.fsencode(name) + b"\n")
    return EXIT_DONE
