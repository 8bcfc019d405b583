"""qmail-shcfg [-l]: print the choices made at setup and every control setting; with -l, page through less.

Exits: 0, 1 without a control folder or with an unknown option.  Source: programs.md 1.1, 1.9.
"""

import os
import subprocess

from eqmail_core.control.shcfg import Ink, configuration_report, setup_report
from eqmail_core.system.files import write_all
from eqmail_core.system.installation import read_controls, read_site
from eqmail_core.system.log import log_line
from eqmail_core.text.options import BadOption, parse_options
from eqmail_core.tls.certificate import validity

_PAGER = ("less", "-R")


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Print the report, in colours on a terminal."""
    try:
        options, _ = parse_options(argv, b"l")
    except BadOption as bad:
        log_line("qmail-shcfg", bad.text)
        return 1
    site = read_site(environ)
    if not os.path.isdir(site.control):
        write_all(1, b"error reading controls directory!\n")
        return 1
    ink = Ink(os.isatty(1))
    report = setup_report(site, ink) + b"".join(configuration_report(read_controls(site), ink, validity))
    if options and os.isatty(1):
        try:
            return subprocess.run(_PAGER, input=report, check=False, env=environ).returncode
        except FileNotFoundError:
            pass
    write_all(1, report)
    return 0
