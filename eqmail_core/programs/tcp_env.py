"""tcp-env [-rR] [-t seconds] program [arg...]: run a program with the TCP environment of its descriptor 0.

-R does not ask the client's host who runs the client.  Where PROTO is TCP already, nothing is touched.
Exits: 111 when that fails.  Source: smtp-server.md 4.9; tcp-environ(5).
"""

import os

from eqmail_core.formats.lines import leading_number
from eqmail_core.formats.options import BadOption, parse_options
from eqmail_core.net.peer_names import describe
from eqmail_core.values.outcome import EXIT_TEMPORARY

IDENT_TIMEOUT_S = 30.0


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Become the program."""
    timeout_s: float | None = IDENT_TIMEOUT_S
    seconds = IDENT_TIMEOUT_S
    try:
        options, command = parse_options(argv, b"rRt:")
        for letter, argument in options:
            if letter == b"t":
                seconds = float(leading_number(argument) or 0)
            timeout_s = None if letter == b"R" else timeout_s if letter == b"t" else seconds
        if not command:
            return EXIT_TEMPORARY
        if environ.get(b"PROTO") != b"TCP":
            for name, value in describe(0, None if timeout_s is None else seconds).items():
                if value is None:
                    environ.pop(name, None)
                else:
                    environ[name] = value
        os.execvpe(command[0], command, environ)
    except (BadOption, OSError):
        return EXIT_TEMPORARY
