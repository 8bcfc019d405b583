"""except program [arg ...]: succeed where the program fails and the other way round, from a .qmail file.

Exits: 100 when the program exits 0, 111 when it exits 111 or crashes, else 0.  Source: delivery.md 5.9; except(1).
"""

from eqmail_core.outcome import EXIT_DONE, EXIT_PERMANENT, Failure
from eqmail_core.system.commands import run_for_exit_code
from eqmail_core.system.log import fatal, log_line


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Run the program and invert its verdict."""
    if len(argv) < 2:
        log_line("except", "usage: except program [ arg ... ]")
        return EXIT_PERMANENT
    try:
        return EXIT_DONE if run_for_exit_code(argv[1:], environ) else EXIT_PERMANENT
    except Failure as failure:
        return fatal("except", failure.text, failure.exit_code)
