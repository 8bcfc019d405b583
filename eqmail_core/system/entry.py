"""The door of every program: from the system's argv and environment into `main`, and out with an exit code.

A program file that setup installs calls `enter(main, home)`; `main(argv, environ)` gets bytes and returns the code.
"""

import os
import sys

from eqmail_core.system.installation import HOME_VARIABLE
from eqmail_core.values.outcome import EXIT_TEMPORARY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn


def enter(main: "Callable[[list[bytes], dict[bytes, bytes]], int]", home: str) -> "NoReturn":
    """Run `main` and leave the process at once; a surprise is one line on standard error and a temporary failure."""
    argv = [os.fsencode(argument) for argument in sys.argv]
    environ = dict(os.environb)
    environ.setdefault(HOME_VARIABLE, os.fsencode(home))
    try:
        code = main(argv, environ)
    except BaseException as surprise:
        code = _surprised(argv, surprise)
    os._exit(code)


def _surprised(argv: list[bytes], surprise: BaseException) -> int:
    name = os.path.basename(argv[0]).decode("latin-1") if argv else "eqmail"
    if isinstance(surprise, SystemExit):
        return surprise.code if isinstance(surprise.code, int) else EXIT_TEMPORARY
    what = f"{name}: fatal: {type(surprise).__name__}: {surprise}".replace("\n", " ")
    os.write(2, what.encode("utf-8", "backslashreplace") + b"\n")
    return EXIT_TEMPORARY
