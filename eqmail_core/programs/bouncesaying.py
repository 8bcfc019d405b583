"""bouncesaying text [program [arg ...]]: refuse the message with a text if the program exits 0, from a .qmail file.

Exits: 100 refused, 0 not, 111.  Source: delivery.md 5.9; bouncesaying(1).
"""

from eqmail_core.outcome import EXIT_DONE, EXIT_PERMANENT, Failure
from eqmail_core.system.commands import run_for_exit_code
from eqmail_core.system.log import fatal, log_line, write_stderr


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Refuse at once when there is no program to ask."""
    if len(argv) < 2:
        log_line("bouncesaying", "usage: bouncesaying error [ program [ arg ... ] ]")
        return EXIT_PERMANENT
    try:
        if len(argv) > 2 and run_for_exit_code(argv[2:], environ):
            return EXIT_DONE
    except Failure as failure:
        return fatal("bouncesaying", failure.text, failure.exit_code)
    write_stderr(argv[1] + b"\n")
    return EXIT_PERMANENT
