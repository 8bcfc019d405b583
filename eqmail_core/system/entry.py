"""The door of every program: from the system's argv and environment into `main`, and out with an exit code.

A program file that setup installs calls `enter(main, home)`; `main(argv, environ)` gets bytes and returns the code.
"""

import os
import sys

from eqmail_core.site.layout import HOME_VARIABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

_STANDARD = (0, 1, 2)
_INVENTED = (b"C.UTF-8", b"C.utf8", b"UTF-8")
_INTERRUPTED = 130


def enter(main: "Callable[[list[bytes], dict[bytes, bytes]], int]", home: str) -> "NoReturn":
    """Run `main` and leave the process at once; a surprise is one line on standard error and a temporary failure."""
    try:
        _occupy_standard_descriptors()
        _unset_invented_locale()
        argv = [os.fsencode(argument) for argument in sys.argv]
        environ = dict(os.environb)
        environ.setdefault(HOME_VARIABLE, os.fsencode(home))
        code = main(argv, environ)
    except BaseException as surprise:
        code = _unexpected_error(surprise)
    os._exit(code)


def _occupy_standard_descriptors() -> None:
    """Let no file that we open become descriptor 0, 1 or 2, and be taken for the message or for the log.

    One that was closed can be neither read nor written afterwards, as before.
    """
    for fd in _STANDARD:
        try:
            os.fstat(fd)
        except OSError:
            os.open("/", os.O_PATH | os.O_CLOEXEC)


def _unset_invented_locale() -> None:
    """Take out LC_CTYPE where the interpreter has put it in (PEP 538): what we start gets what we were given."""
    if os.environb.get(b"LC_CTYPE") not in _INVENTED:
        return
    try:
        fd = os.open("/proc/self/environ", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        given = b"\0"
        while piece := os.read(fd, 65536):
            given += piece
    finally:
        os.close(fd)
    if b"\0LC_CTYPE=" not in given:
        del os.environb[b"LC_CTYPE"]


def _unexpected_error(error: BaseException) -> int:
    """Say what has come up, in one line, if anybody can still hear it; the exit code."""
    from eqmail_core.outcome import EXIT_TEMPORARY

    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else EXIT_TEMPORARY
    if isinstance(error, KeyboardInterrupt):
        return _INTERRUPTED
    if not isinstance(error, BrokenPipeError):
        from eqmail_core.system.log import describe_error, fatal

        fatal(os.path.basename(sys.argv[0]) if sys.argv else "eqmail", describe_error(error))
    return EXIT_TEMPORARY
