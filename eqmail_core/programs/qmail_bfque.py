"""qmail-bfque: run the program that control file beforequeue names in place of qmail-queue; for QMAILQUEUE.

Exits as that does, or 120.  Source: control-files.md "beforemote".
"""

from eqmail_core.control.controls import Controls
from eqmail_core.queue.format.exit_codes import CANNOT_EXEC
from eqmail_core.remote.before import run_before
from eqmail_core.system.installation import read_site


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Become it; with the message on descriptor 0 and the envelope on descriptor 1."""
    try:
        return run_before(read_site(environ), environ, argv, Controls.beforequeue.file, "qmail-queue")
    except OSError:
        return CANNOT_EXEC
