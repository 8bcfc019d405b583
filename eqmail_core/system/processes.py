"""Running other programs: descriptors in place, SIGPIPE as they expect it, their end awaited, their output bounded.

Light: used by programs that run once per message.
Fails: OSError when a program cannot be started.
"""

import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SIGPIPE = 13
_SIGKILL = 9
_PIECE = 4096


def start(argv: list[bytes], environ: "Mapping[bytes, bytes]") -> int:
    """Start the program argv[0], a path, with the descriptors 0, 1 and 2 that we have, and return its process id."""
    return os.posix_spawn(argv[0], argv, environ, setsigdef=[_SIGPIPE])


def await_end(pid: int) -> int:
    """Wait for a child; its exit code, or the negative number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run_captured(act: "Callable[[], int]", limit_bytes: int, timeout_s: float) -> tuple[int, bytes]:
    """Run `act` in a child with its descriptor 1 caught: its exit code (see `await_end`) and the first bytes it wrote.

    `act` may settle into another user and execute a program.  At the time limit the child is killed, and its code
    is that of SIGKILL.  Fails: OSError when there can be no child.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 111
        try:
            os.dup2(writing, 1)
            code = act()
        finally:
            os._exit(code)
    os.close(writing)
    output = b""
    try:
        waiter = select.poll()
        waiter.register(reading, select.POLLIN)
        deadline = time.monotonic() + timeout_s
        while waiter.poll(max(0.0, deadline - time.monotonic()) * 1000):
            piece = os.read(reading, _PIECE)
            if not piece:
                break
            output = (output + piece)[:limit_bytes]
        else:
            os.kill(pid, _SIGKILL)
    finally:
        os.close(reading)
    return await_end(pid), output
