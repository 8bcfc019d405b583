"""condredirect newaddress program [arg ...]: redirect the message if the program exits 0, from a .qmail file.

Needs SENDER and DTLINE.  Exits: 99 redirected, 0 not, 100, 111.  Source: delivery.md 5.9; condredirect(1).
"""

import os

from eqmail_core.outcome import EXIT_DONE, EXIT_PERMANENT, EXIT_STOP, Failure
from eqmail_core.queue.client.enqueue import forward_input
from eqmail_core.system.commands import run_for_exit_code
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import fatal, log_line
from eqmail_core.text.error_text import error_text


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Ask the program; then queue the Delivered-To line and the message, from its sender."""
    if len(argv) < 3:
        log_line("condredirect", "usage: condredirect newaddress program [ arg ... ]")
        return EXIT_PERMANENT
    try:
        if run_for_exit_code(argv[2:], environ):
            return EXIT_DONE
        os.lseek(0, 0, os.SEEK_SET)
        for name in (b"SENDER", b"DTLINE"):
            if name not in environ:
                return fatal("condredirect", name + b" not set", EXIT_PERMANENT)
        qp = forward_input(read_site(environ), environ, environ[b"DTLINE"], environ[b"SENDER"], [argv[1]])
    except Failure as failure:
        return fatal("condredirect", failure.text, failure.exit_code)
    except OSError as error:
        return fatal("condredirect", b"unable to rewind: " + error_text(error.errno))
    log_line("condredirect", f"qp {qp}")
    return EXIT_STOP
