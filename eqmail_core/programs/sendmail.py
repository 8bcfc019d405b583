"""sendmail: the front end that other programs expect; also mailq and newaliases, by the name it is called.

    sendmail [ -t ] [ -fsender ] [ -Fname ] [ -Nnews ] [ -Rret ] [ -Venvid ] [ -bp ] [ -bs ] [ recipient ... ]

The sender <> is the null sender. -r is -f. Options of other sendmails that mean nothing here are passed over: -A, -B,
-C, -d, -E, -e, -G, -h, -i, -J, -L, -m, -n, -O, -o, -p, -q, -U, -v, -X, -x. With -q and no recipients nothing is done,
because what waits is tried again anyhow. -bd, -bv and their like are refused. A message whose header lines, and the
empty one behind them, all end in CRLF is taken as if it had LF; others are taken as they are.

Exits: 0, 100, 111.  Source: delivery.md 5.8; sendmail(8).
"""

import os

from eqmail_core.inject.qmail_inject import inject
from eqmail_core.inject.sendmail_options import INJECT, NOTHING, PROGRAMS, Elsewhere, Usage, parse_sendmail_command
from eqmail_core.outcome import EXIT_DONE, EXIT_PERMANENT
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import fatal, log_line, write_stderr
from eqmail_core.text.options import BadOption, program_name


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Inject the message on standard input, or become the program that the words ask for."""
    site = read_site(environ)
    try:
        os.chdir(site.home)
    except OSError:
        return fatal("sendmail", "unable to switch to qmail home directory")
    try:
        request = parse_sendmail_command(argv, environ)
    except BadOption as bad:
        write_stderr(program_name(argv) + b": " + bad.text + b"\n")
        return _usage()
    except Usage:
        return _usage()
    except Elsewhere as elsewhere:
        return fatal("sendmail", str(elsewhere), EXIT_PERMANENT)
    if request.action == NOTHING:
        return EXIT_DONE
    if request.action == INJECT:
        return inject(request.argv, request.environ, dsn=request.dsn)
    name = PROGRAMS.get(request.action)
    if name is None:
        return fatal("sendmail", "please use fastforward/newaliases instead", EXIT_PERMANENT)
    try:
        os.execve(f"{site.bin}/{name}", [f"bin/{name}"], request.environ)
    except OSError:
        return fatal("sendmail", f"unable to run {name}")


def _usage() -> int:
    log_line(
        "sendmail",
        "usage: sendmail [ -t ] [ -fsender ] [ -Fname ] [ -bp ] [ -bs ] [ arg ... ]",
    )
    return EXIT_PERMANENT
