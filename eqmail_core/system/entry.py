"""The entry point of every program: calls `main` with argv and environment, then exits.

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
    """Run `main` and exit at once with its code.

    An unexpected error is one line on standard error and a temporary failure.
    """
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
    """Open descriptors 0, 1 and 2 if they are closed, so that no other file gets their numbers.

    Such a file could be taken for the message or for the log.  A descriptor that was closed can still be neither read
    nor written.
    """
    for fd in _STANDARD:
        try:
            os.fstat(fd)
        except OSError:
            os.open("/", os.O_PATH | os.O_CLOEXEC)


def _unset_invented_locale() -> None:
    """Remove LC_CTYPE if the interpreter added it (PEP 538): children get the original one."""
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
    """Log an unexpected error in one line, unless the reader has gone; return the exit code."""
    from eqmail_core.outcome import EXIT_TEMPORARY

    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else EXIT_TEMPORARY
    if isinstance(error, KeyboardInterrupt):
        return _INTERRUPTED
    if not isinstance(error, BrokenPipeError):
        from eqmail_core.system.log import describe_error, fatal

        fatal(os.path.basename(sys.argv[0]) if sys.argv else "eqmail", describe_error(error))
    return EXIT_TEMPORARY
