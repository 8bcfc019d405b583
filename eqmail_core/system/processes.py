"""Runs other programs: sets descriptors and signals, awaits their end, bounds their output.

Light: used by programs that run once per message.
Fails: OSError when a program cannot be started.
"""

import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_STDERR = 2
IGNORED_BY_PYTHON = (13, 25)
"""SIGPIPE and SIGXFSZ, which other programs expect to end them."""
_SIGKILL = 9
_SIGTERM = 15
_KILL_AFTER_S = 2.0
_MAX_PAUSE_S = 0.05
_PIECE = 4096


def start(argv: list[bytes], environ: "Mapping[bytes, bytes]", leads_group: bool = False) -> int:
    """Start the program argv[0], a path, with only descriptors 0, 1 and 2; return its pid.

    If it leads a process group, all processes that it starts can be ended with it, see `await_end_within`.
    """
    close = [(os.POSIX_SPAWN_CLOSE, fd) for fd in _inherited_children()]
    if leads_group:
        return os.posix_spawn(argv[0], argv, environ, file_actions=close, setsigdef=IGNORED_BY_PYTHON, setpgroup=0)
    return os.posix_spawn(argv[0], argv, environ, file_actions=close, setsigdef=IGNORED_BY_PYTHON)


def _inherited_children() -> list[int]:
    """Descriptors that programs would inherit: those this process was started with.

    Python opens its own descriptors without inheritance.
    """
    found = []
    try:
        for name in os.listdir("/proc/self/fd"):
            fd = int(name)
            try:
                if fd > _STDERR and os.get_inheritable(fd):
                    found.append(fd)
            except OSError:
                pass  # the descriptor of the listing itself
    except OSError:
        pass  # a system without this folder: as in C
    return found


def await_end(pid: int) -> int:
    """Wait for a child; its exit code, or the negative number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def await_end_within(pid: int, limit_s: float) -> int | None:
    """Wait for a child that leads a process group, see `await_end`; None after the time limit.

    At the limit the whole group gets TERM.  It gets KILL when the child has ended, or a moment later.
    """
    in_time = _ends_within(pid, limit_s)
    if not in_time:
        _signal_group(pid, _SIGTERM)
        _ends_within(pid, _KILL_AFTER_S)
        # The child is not reaped yet, so its number still belongs to its group and to no other.
        _signal_group(pid, _SIGKILL)
    code = await_end(pid)
    return code if in_time else None


def _ends_within(pid: int, limit_s: float) -> bool:
    """Wait until a child has ended, without reaping it; False at the time limit."""
    deadline = time.monotonic() + limit_s
    pause_s = 0.001
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return False
        time.sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, _MAX_PAUSE_S)
    return True


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def run_captured(act: "Callable[[], int]", limit_bytes: int, timeout_s: float) -> tuple[int, bytes]:
    """Run `act` in a child and capture descriptor 1: exit code (`await_end`) and first bytes.

    `act` may become another user and execute a program.  At the time limit the child is killed, and its code is that of
    SIGKILL.  Fails: OSError when no child can be started.
    """
    reading, writing = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(reading)
        os.close(writing)
        raise
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
        poller = select.poll()
        poller.register(reading, select.POLLIN)
        deadline = time.monotonic() + timeout_s
        while poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
            piece = os.read(reading, _PIECE)
            if not piece:
                break
            output = (output + piece)[:limit_bytes]
        else:
            os.kill(pid, _SIGKILL)
    finally:
        os.close(reading)
    return await_end(pid), output
