"""preline [-frdFRD] command [arg ...]: give a command the message with its From_, Return-Path and Delivered-To lines.

Needs UFLINE, RPLINE and DTLINE.  Exits with the command's code, or 100, 111.  Source: delivery.md 5.9; preline(1).
"""

from eqmail_core.outcome import EXIT_PERMANENT, Failure
from eqmail_core.system.commands import run_with_input
from eqmail_core.system.log import fatal, log_line
from eqmail_core.text.options import BadOption, parse_options

LINES = {b"f": b"UFLINE", b"r": b"RPLINE", b"d": b"DTLINE"}


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Feed the command; a small letter leaves a line out, a capital one puts it back."""
    if not all(name in environ for name in LINES.values()):
        return _usage()
    try:
        options, command = parse_options(argv, b"frdFRD")
    except BadOption as bad:
        log_line("preline", bad.text)
        return _usage()
    if not command:
        return _usage()
    wanted = dict.fromkeys(LINES, True)
    wanted.update({letter.lower(): letter.isupper() for letter, _ in options})
    first = b"".join([environ[name] for letter, name in LINES.items() if wanted[letter]])
    try:
        return run_with_input(command, environ, first)
    except Failure as failure:
        return fatal("preline", failure.text, failure.exit_code)


def _usage() -> int:
    log_line("preline", "usage: preline cmd [ arg ... ]")
    return EXIT_PERMANENT
