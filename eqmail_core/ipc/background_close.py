"""Closes received descriptors in threads, so that an event loop does not block.

The last close of a socket may block until its peer has read everything (SO_LINGER).
Any close of a file may block on the process that serves its file system. The sender controls how long both take.

Fails: never.
"""

import os
import socket
import stat
import struct
import threading
from collections import deque

MAX_THREADS = 16
"""Most closes that block at a time; further descriptors stay open meanwhile."""

_NO_LINGER = struct.pack("ii", 0, 0)

_waiting: deque[int] = deque()
_lock = threading.Lock()
_threads = 0


def close_received(fd: int) -> None:
    """Close a received message descriptor: a regular file at once, others in a thread."""
    try:
        is_file = stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        is_file = False
    if is_file:
        os.close(fd)
    else:
        close_aside(fd)


def close_aside(fd: int) -> None:
    """Close a descriptor later, in a thread."""
    global _threads
    with _lock:
        _waiting.append(fd)
        if _threads == MAX_THREADS:
            return
        _threads += 1
    try:
        threading.Thread(target=_close_all, name="closing", daemon=True).start()
    except RuntimeError:
        with _lock:
            _threads -= 1


def _close_all() -> None:
    global _threads
    while True:
        with _lock:
            if not _waiting:
                _threads -= 1
                return
            fd = _waiting.popleft()
        _close(fd)


def _close(fd: int) -> None:
    try:
        sock = socket.socket(fileno=fd)
    except OSError:
        try:
            os.close(fd)
        except OSError:
            pass
        return
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    except OSError:
        pass
    try:
        sock.close()
    except OSError:
        pass
