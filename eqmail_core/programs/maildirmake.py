"""maildirmake name: make a Maildir.

Exits: 0, 100, 111.  Source: delivery.md 5.9; maildirmake(1).
"""

import os

from eqmail_core.outcome import EXIT_DONE, EXIT_PERMANENT
from eqmail_core.system.log import fatal, log_line
from eqmail_core.text.error_text import error_text


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Make the folder, which must not exist, with tmp, new and cur in it, for its owner alone."""
    if len(argv) < 2:
        log_line("maildirmake", "usage: maildirmake name")
        return EXIT_PERMANENT
    os.umask(0o077)
    for folder in (argv[1], *(argv[1] + part for part in (b"/tmp", b"/new", b"/cur"))):
        try:
            os.mkdir(folder, 0o700)
        except OSError as error:
            return fatal("maildirmake", b"unable to mkdir %b: %b" % (folder, error_text(error.errno)))
    return EXIT_DONE
