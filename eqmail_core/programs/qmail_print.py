"""qmail-print: print the choices that were made at setup.

Exits: 0.  Source: programs.md 1.1.
"""

import os

from eqmail_core.control.shcfg import Ink, setup_report
from eqmail_core.system.files import write_all
from eqmail_core.system.installation import read_site


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Print them, in colours on a terminal."""
    write_all(1, setup_report(read_site(environ), Ink(os.isatty(1))))
    return 0
