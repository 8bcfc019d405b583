"""splogger [tag [facility]]: send the lines of standard input to syslog.

Exits: 0 at the end of input, 111.  Source: programs.md 1.8; splogger(8).
"""

import os

from eqmail_core.outcome import EXIT_TEMPORARY

_PIECE = 65536


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Log until the input ends; a last line without LF counts, too."""
    try:
        data = os.read(0, _PIECE)
        if data:
            # Here, because xinetd starts one for each connection, and few connections have something to log at once.
            from eqmail_core.tools.splogger import copy

            copy(argv[1:], environ, data)
    except OSError:
        return EXIT_TEMPORARY
    return 0
