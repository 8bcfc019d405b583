"""sendmail: the front end that other programs expect; also mailq and newaliases, by the name it is called.

    sendmail [ -t ] [ -fsender ] [ -Fname ] [ -Nnews ] [ -Rret ] [ -Venvid ] [ -bp ] [ -bs ] [ recipient ... ]

Exits: 0, 100, 111.  Source: delivery.md 5.8; sendmail(8).
"""

import os

from eqmail_core.formats.options import BadOption, program_name
from eqmail_core.net.injector import inject
from eqmail_core.policy.sendmail import INJECT, PROGRAMS, Usage, read_words
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import complain, fatal, say
from eqmail_core.values.outcome import EXIT_PERMANENT


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Inject the message on standard input, or become the program that the words ask for."""
    site = read_site(environ)
    try:
        os.chdir(site.home)
    except OSError:
        return fatal("sendmail", "unable to switch to qmail home directory")
    try:
        errand = read_words(argv, environ)
    except BadOption as bad:
        complain(program_name(argv) + b": " + bad.text + b"\n")
        return _usage()
    except Usage:
        return _usage()
    if errand.action == INJECT:
        return inject(errand.argv, errand.environ, wishes=errand.wishes)
    name = PROGRAMS.get(errand.action)
    if name is None:
        return fatal("sendmail", "please use fastforward/newaliases instead", EXIT_PERMANENT)
    try:
        os.execve(f"{site.bin}/{name}", [f"bin/{name}"], errand.environ)
    except OSError:
        return fatal("sendmail", f"unable to run {name}")


def _usage() -> int:
    say(
        "sendmail",
        "usage: sendmail [ -t ] [ -fsender ] [ -Fname ] [ -bp ] [ -bs ] [ arg ... ]",
    )
    return EXIT_PERMANENT
