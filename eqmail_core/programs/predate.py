"""predate program [arg ...]: give a program the message on standard input with a Date field before it.

Exits with the program's code, or 100, 111.  Source: delivery.md 5.8; predate(1).
"""

import time

from eqmail_core.mail.dates import date822
from eqmail_core.outcome import EXIT_PERMANENT, Failure
from eqmail_core.system.commands import feed
from eqmail_core.system.log import fatal, say


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Feed the program."""
    if len(argv) < 2:
        say("predate", "usage: predate child")
        return EXIT_PERMANENT
    try:
        return feed(argv[1:], environ, b"Date: " + date822(time.time()) + b"\n")
    except Failure as failure:
        return fatal("predate", failure.text)
