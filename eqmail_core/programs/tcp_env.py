"""tcp-env [-rR] [-t seconds] program [arg...]: run a program with the TCP environment of its descriptor 0.

-R does not ask the client's host who runs the client.  Where PROTO is TCP already, nothing is touched.
Exits: 111 when that fails.  Source: smtp-server.md 4.9; tcp-environ(5).
"""

import os

from eqmail_core.outcome import EXIT_TEMPORARY
from eqmail_core.site.layout import home_of
from eqmail_core.system.installation import is_own
from eqmail_core.tcpserver.environment import describe
from eqmail_core.text.lines import MAX_WAIT_S, number_of_option
from eqmail_core.text.options import BadOption, parse_options

IDENT_TIMEOUT_S = 30.0


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Become the program."""
    timeout_s: float | None = IDENT_TIMEOUT_S
    seconds = IDENT_TIMEOUT_S
    try:
        options, command = parse_options(argv, b"rRt:")
        for letter, argument in options:
            if letter == b"t":
                seconds = float(number_of_option(argument, MAX_WAIT_S))
            timeout_s = None if letter == b"R" else timeout_s if letter == b"t" else seconds
        if not command:
            return EXIT_TEMPORARY
        if environ.get(b"PROTO") != b"TCP":
            for name, value in describe(0, None if timeout_s is None else seconds).items():
                if value is None:
                    environ.pop(name, None)
                else:
                    environ[name] = value
        if is_own(command[0], home_of(environ), b"qmail-smtpd"):
            return _serve(command, environ)
        os.execvpe(command[0], command, environ)
    except (BadOption, OSError):
        return EXIT_TEMPORARY


def _serve(command: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Do what qmail-smtpd would do, which saves the start of an interpreter for each connection."""
    from eqmail_core.smtpd.qmail_smtpd import receive

    try:
        with open("/proc/self/comm", "wb") as name:
            name.write(b"qmail-smtpd")
    except OSError:
        pass  # only for people
    return receive(command[1:], environ)
