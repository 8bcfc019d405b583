"""predate program [arg ...]: give a program the message on standard input with a Date field before it.

Exits with the program's code, or 100, 111.  Source: delivery.md 5.8; predate(1).
"""

import time

from eqmail_core.mail.dates import date822
from eqmail_core.outcome import EXIT_PERMANENT, Failure
from eqmail_core.system.commands import begin_with_field, run_with_input
from eqmail_core.system.log import fatal, log_line


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Feed the program."""
    if len(argv) < 2:
        log_line("predate", "usage: predate child")
        return EXIT_PERMANENT
    try:
        return run_with_input(argv[1:], environ, begin_with_field(b"Date: " + date822(time.time())))
    except Failure as failure:
        return fatal("predate", failure.text)
