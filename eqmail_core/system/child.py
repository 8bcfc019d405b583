"""Long-lived children: forked, not executed, with a socket to the parent and nothing else.

Fails: OSError when no child can be started.
"""

import os
import signal
import socket
from collections.abc import Callable

from eqmail_core.ipc.packet_socket import enlarge_send_buffer, refuse_descriptors
from eqmail_core.system.kernel import close_all_but
from eqmail_core.system.repeated_lines import say_seldom

_KEPT = 3


def fork_with_socket(name: str, act: Callable[[socket.socket], int]) -> tuple[int, socket.socket]:
    """Fork a child that runs `act` with its end of a packet socket, then exits with the result.

    The child has no other descriptors than 0, 1, 2 and the socket, and default signal handlers.  It must end when its
    socket reaches end of file.  An unexpected error becomes one line on standard error, which begins with `name`.
    Returns the process id and the parent's end, which is non-blocking.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        pid = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        raise
    if pid == 0:
        code = 111
        try:
            code = act(_only(theirs))
        except BaseException as surprise:
            say_seldom(name, f"alert: {type(surprise).__name__}: {surprise}")
        finally:
            os._exit(code)
    theirs.close()
    ours.setblocking(False)
    refuse_descriptors(ours)
    enlarge_send_buffer(ours)
    return pid, ours


def _only(sock: socket.socket) -> socket.socket:
    """Close all descriptors of the parent but `sock`, which becomes descriptor 3.

    The parent's socket objects stay in memory although their descriptors are closed: a child never returns to code that
    would use or close them, and they are not collected.
    """
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    fd = sock.detach()
    if fd != _KEPT:
        os.dup2(fd, _KEPT, inheritable=False)
    close_all_but({0, 1, 2, _KEPT})
    kept = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=_KEPT)
    enlarge_send_buffer(kept)
    return kept


def end_child(pid: int) -> int:
    """Kill a child and reap it; its exit code, or the negative number of a signal.

    A child that has already ended keeps its code.
    """
    try:
        os.kill(pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except (ProcessLookupError, ChildProcessError):
        return -int(signal.SIGKILL)


def has_ended(pid: int) -> bool:
    """Reap a child if it has ended."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
