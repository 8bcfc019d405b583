"""System calls that Python's os lacks; where the system lacks them too, what comes nearest.

Import before settling into a role: loading the library may need files that the role cannot read.
"""

import ctypes
import os
import signal
import struct

_library = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG, _PR_GET_DUMPABLE, _PR_SET_DUMPABLE, _PR_SET_NAME = 1, 3, 4, 15
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_PR_SET_SECCOMP, _FILTER = 22, 2
_CAPABILITY_VERSION = 0x20080522
_CAPABILITIES = 64

CAP_SETGID, CAP_SETUID = 6, 7
"""capabilities(7)."""


def sync_file_system(fd: int) -> None:
    """Put everything written to the file system of `fd` on the disk, names included.  Fails: OSError."""
    if not hasattr(_library, "syncfs"):
        os.sync()
    elif _library.syncfs(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def forbid_tracing() -> None:
    """Keep other processes of our user from tracing this one and reading its memory, until it executes a program.

    Fails: OSError when the system will not promise it.
    """
    if hasattr(_library, "prctl"):
        _library.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        if _library.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) != 0:
            raise OSError("the process stayed traceable")


def keep_capabilities(*kept: int) -> None:
    """Give up all capabilities but these, for ever: no program that is executed gets any back.

    Fails: OSError when the system will not promise it.
    """
    if not hasattr(_library, "capset"):
        return
    for number in range(_CAPABILITIES):
        if number not in kept:
            _library.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    mask = sum(1 << number for number in kept)
    who = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    low = (mask, mask, 0)
    sets = (ctypes.c_uint32 * 6)(*low, 0, 0, 0)
    if _library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or _library.capset(who, sets) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


# A filter of system calls (seccomp(2)): io_uring_setup is not there, by its number on all machines; all else is.
_IO_URING_SETUP, _ENOSYS = 425, 38
_LOAD_NUMBER, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ERROR, _ALLOW = 0x00050000, 0x7FFF0000
_WITHOUT_IO_URING = (
    (_LOAD_NUMBER, 0, 0, 0),
    (_JUMP_IF_EQUAL, 0, 1, _IO_URING_SETUP),
    (_RETURN, 0, 0, _ERROR | _ENOSYS),
    (_RETURN, 0, 0, _ALLOW),
)


def forbid_io_uring() -> None:
    """Have no io_uring in this process and what it starts, for ever: its kernel code has had too many holes.

    An event loop that would use it does without.  Only root may ask for that without forbidding more; where that fails
    the variable remains, by which the event loop does without most of it.  Fails: never.
    """
    os.environ["UV_USE_IO_URING"] = "0"
    if os.geteuid() == 0 and hasattr(_library, "prctl"):
        code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in _WITHOUT_IO_URING))
        program = struct.pack("@HP", len(_WITHOUT_IO_URING), ctypes.addressof(code))
        _library.prctl(_PR_SET_SECCOMP, _FILTER, program, 0, 0)


def trim_memory() -> None:
    """Give memory that the allocator keeps for later back to the system, where the library can."""
    if hasattr(_library, "malloc_trim"):
        _library.malloc_trim(0)


def end_with_parent() -> None:
    """Have this process told TERM when its parent dies; becoming another user undoes that, so call it again then."""
    if hasattr(_library, "prctl"):
        _library.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def close_all_but(kept: "set[int]") -> None:
    """Close every descriptor of this process but these."""
    try:
        opened = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        opened = list(range(os.sysconf("SC_OPEN_MAX")))
    for fd in opened:
        if fd not in kept:
            try:
                os.close(fd)
            except OSError:
                pass  # the one that listed them


def lock_holder(fd: int) -> int:
    """The process that keeps others from locking the file of `fd` for writing; 0 for none, -1 where it is hidden.

    The kernel says it; what a process could write into the file does not count.  Fails: OSError.
    """
    import fcntl
    import struct

    wanted = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = struct.unpack("hhqqi", fcntl.fcntl(fd, fcntl.F_GETLK, wanted))
    return 0 if kind == fcntl.F_UNLCK else pid or -1


def name_process(name: str) -> None:
    """Show `name`, up to 15 characters, in ps; only for people."""
    if hasattr(_library, "prctl"):
        _library.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
