"""Runs commands that users name in instructions, found along PATH, with a message as input.

Light: used by programs that run once per message.
Source: delivery.md 5.9.
"""

import errno
import os

from eqmail_core.outcome import EXIT_PERMANENT, EXIT_TEMPORARY, PermanentFailure, TemporaryFailure
from eqmail_core.system.files import CHUNK, write_all
from eqmail_core.system.processes import IGNORED_BY_PYTHON, await_end
from eqmail_core.text.error_text import error_text, is_temporary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def run(argv: list[bytes], environ: "Mapping[bytes, bytes]") -> int:
    """Run a command with the descriptors of this process; return its exit code.

    Fails: OSError when it cannot be run; TemporaryFailure when it crashes.
    """
    return _await(_start(argv, environ))


def run_for_exit_code(argv: list[bytes], environ: "Mapping[bytes, bytes]") -> int:
    """Run a command that tests the message on standard input; return its exit code.

    A command that cannot be run counts as a permanent failure.
    Fails: TemporaryFailure when it crashes, exits 111, or cannot be run for lack of resources.
    """
    try:
        code = run(argv, environ)
    except OSError as error:
        code = EXIT_TEMPORARY if is_temporary(error) else EXIT_PERMANENT
    if code == EXIT_TEMPORARY:
        raise TemporaryFailure(b"temporary child error")
    return code


def run_with_input(argv: list[bytes], environ: "Mapping[bytes, bytes]", first: bytes, source: int | None = 0) -> int:
    """Run a command whose standard input is `first`, then the content of `source`.

    Returns its exit code.  The input may have any size; the command need not read it all.  Without a source, `first` is
    all.
    Fails: TemporaryFailure, PermanentFailure when it cannot be run; TemporaryFailure when it crashes or `source` cannot
    be read.
    """
    reading, writing = os.pipe()
    try:
        pid = _start(argv, environ, reading)
    except OSError as error:
        os.close(writing)
        text = b"unable to run %b: %b" % (argv[0], error_text(error.errno))
        raise (TemporaryFailure(text) if is_temporary(error) else PermanentFailure(text)) from error
    finally:
        os.close(reading)
    try:
        more = not first or _write_until_closed(writing, first)
        while more and source is not None and (data := os.read(source, CHUNK)):
            more = _write_until_closed(writing, data)
    except OSError as error:
        raise TemporaryFailure(b"unable to copy input: " + error_text(error.errno)) from error
    finally:
        os.close(writing)
    return _await(pid)


def begin_with_field(field: bytes, source: int = 0) -> bytes:
    """Read the first line of the message in `source`; return `field` before it, with the line end of that line.

    Fails: TemporaryFailure when it cannot be read.
    """
    begun = b""
    try:
        while b"\n" not in begun and len(begun) < CHUNK and (data := os.read(source, CHUNK)):
            begun += data
    except OSError as error:
        raise TemporaryFailure(b"unable to copy input: " + error_text(error.errno)) from error
    is_crlf = begun.partition(b"\n")[0].endswith(b"\r") and b"\n" in begun
    return field + (b"\r\n" if is_crlf else b"\n") + begun


def _start(argv: list[bytes], environ: "Mapping[bytes, bytes]", stdin: int = -1) -> int:
    if not argv[0]:
        raise FileNotFoundError(errno.ENOENT, "no command")
    actions = [(os.POSIX_SPAWN_DUP2, stdin, 0)] if stdin >= 0 else []
    return os.posix_spawnp(argv[0], argv, environ, file_actions=actions, setsigdef=IGNORED_BY_PYTHON)


def _await(pid: int) -> int:
    code = await_end(pid)
    if code < 0:
        raise TemporaryFailure(b"child crashed")
    return code


def _write_until_closed(fd: int, data: bytes) -> bool:
    """Write to the command; False if it has closed its input."""
    try:
        write_all(fd, data)
    except BrokenPipeError:
        return False
    return True
