"""Runs a function in a child process with the rights of another account, and returns what it found.

Root sees with it what a delivery sees; others see what they may see. The child changes its working directory and its
identity freely, and a home that does not answer delays the command only up to a time limit. The child's result is
data of that account: text of a bounded size, which the caller must not trust.

Fails: ChildFailed where the child could not take on the account, ended without a result, or took too long.
"""

import os
import signal
from collections.abc import Callable
from select import POLLIN, poll
from time import monotonic

from eqmail_core.system.files import write_all
from eqmail_core.system.privileges import PrivilegeError, become_user

TIMEOUT_S = 10.0
"""How long the child may take by default, in seconds."""

MAX_BYTES = 1 << 20
"""Longest result, in bytes."""

_DONE, _FAILED = b"K", b"D"


class ChildFailed(Exception):
    """The child gave no result; the text is the reason."""


def run_as_user(uid: int, gid: int, function: Callable[[], bytes], timeout_s: float = TIMEOUT_S) -> bytes:
    """Return what `function` returns as that account; as the caller's own where the caller is not root."""
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(source)
        _run_child(uid, gid, function, sink)
    os.close(sink)
    try:
        text = _read_within(source, timeout_s)
    finally:
        os.close(source)
        _end(pid)
    if text[:1] != _DONE:
        raise ChildFailed(text[1:].decode("utf-8", "replace") or f"no result as uid {uid}")
    return text[1:]


def _run_child(uid: int, gid: int, function: Callable[[], bytes], sink: int) -> None:
    """Run the function and write its result; never returns."""
    try:
        try:
            if os.geteuid() == 0 and uid != 0:
                become_user(uid, gid)
            result = _DONE + function()
        except PrivilegeError as error:
            result = _FAILED + str(error).encode()
        except OSError as error:
            result = _FAILED + f"{error.filename or 'system'}: {error.strerror or error}".encode()
        write_all(sink, result)
    finally:
        os._exit(0)


def _read_within(fd: int, timeout_s: float) -> bytes:
    poller = poll()
    poller.register(fd, POLLIN)
    deadline, text = monotonic() + timeout_s, b""
    while len(text) < MAX_BYTES:
        if not poller.poll(max(0.0, deadline - monotonic()) * 1000):
            raise ChildFailed(f"no answer in {timeout_s:g} seconds")
        chunk = os.read(fd, 65536)
        if not chunk:
            break
        text += chunk
    return text


def _end(pid: int) -> None:
    """Reap the child; one that hangs in a file system is killed and left behind."""
    os.kill(pid, signal.SIGKILL)
    deadline = monotonic() + 1.0
    while os.waitpid(pid, os.WNOHANG)[0] == 0 and monotonic() < deadline:
        poll().poll(2)
