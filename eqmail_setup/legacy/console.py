"""How a program of a classic name speaks and ends: sentences on standard output, one line on standard error at last."""

import os
import sys
from collections.abc import Callable

from eqmail_core.outcome import EXIT_TEMPORARY
from eqmail_setup.errors import EqmailError


def write_line(line: str) -> None:
    """Say one line."""
    sys.stdout.write(line + "\n")


def run_to_exit_code(name: str, work: Callable[[], int]) -> int:
    """Run the work of a program; its exit code, 111 with one line about the problem if it failed."""
    try:
        code = work()
    except EqmailError as refusal:
        return fatal(name, refusal.text)
    except KeyboardInterrupt:
        return fatal(name, "interrupted; nothing was changed")
    except OSError as error:
        where = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
        return fatal(name, f"{where}{error.strerror or error}")
    return flush() or code


def fatal(name: str, text: str, code: int = EXIT_TEMPORARY) -> int:
    """Say why nothing was done; the exit code."""
    flush()
    sys.stderr.write(f"{name}: fatal: {text}\n")
    return code


def flush() -> int:
    """Flush all output; the exit code if the output is closed."""
    try:
        sys.stdout.flush()
    except OSError:
        return EXIT_TEMPORARY
    return 0
