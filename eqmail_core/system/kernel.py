"""System calls that Python's os lacks, with the nearest substitute on other systems.

Import this before assuming a role: loading the library may need files that the role cannot read.
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
    """Sync everything written to the file system of `fd`, names included.  Fails: OSError."""
    if not hasattr(_library, "syncfs"):
        os.sync()
    elif _library.syncfs(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def forbid_tracing() -> None:
    """Forbid other processes of the same user to trace this one, until it executes a program.

    This also protects its memory from being read.
    Fails: OSError when the system does not guarantee it.
    """
    if hasattr(_library, "prctl"):
        _library.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        if _library.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) != 0:
            raise OSError("the process stayed traceable")


def keep_capabilities(*kept: int) -> None:
    """Drop all other capabilities permanently: no executed program regains any.

    Fails: OSError when the system does not guarantee it.
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


# A filter of system calls (seccomp(2)) that hides io_uring_setup, by its number on all machines, and allows all others.
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
    """Forbid io_uring in this process and its children permanently: its code had many vulnerabilities.

    An event loop that would use it works without.  Only root may install the filter without forbidding more.  Where it
    fails, the environment variable remains, which makes the event loop avoid most of io_uring.  Fails: never.
    """
    os.environ["UV_USE_IO_URING"] = "0"
    if os.geteuid() == 0 and hasattr(_library, "prctl"):
        code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in _WITHOUT_IO_URING))
        program = struct.pack("@HP", len(_WITHOUT_IO_URING), ctypes.addressof(code))
        _library.prctl(_PR_SET_SECCOMP, _FILTER, program, 0, 0)


def trim_memory() -> None:
    """Return free memory of the allocator to the system, where the library can."""
    if hasattr(_library, "malloc_trim"):
        _library.malloc_trim(0)


def end_with_parent() -> None:
    """Have the kernel send TERM to this process when its parent dies.

    A change of user cancels this, so call it again afterwards.
    """
    if hasattr(_library, "prctl"):
        _library.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def close_all_but(kept: "set[int]") -> None:
    """Close every descriptor of this forked process but these.

    Objects that it has from its parent are never collected afterwards: each would close a descriptor by its number,
    which belongs to something else by then.
    """
    import gc

    gc.freeze()
    try:
        opened = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        opened = list(range(os.sysconf("SC_OPEN_MAX")))
    for fd in opened:
        if fd not in kept:
            try:
                os.close(fd)
            except OSError:
                pass  # the descriptor of the listing itself


def lock_holder(fd: int) -> int:
    """The process that prevents a write lock on the file of `fd`; 0 for none, -1 if hidden.

    The kernel reports it, independently of the content of the file.  Fails: OSError.
    """
    import fcntl
    import struct

    wanted = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = struct.unpack("hhqqi", fcntl.fcntl(fd, fcntl.F_GETLK, wanted))
    return 0 if kind == fcntl.F_UNLCK else pid or -1


def name_process(name: str) -> None:
    """Show `name`, up to 15 characters, in ps."""
    if hasattr(_library, "prctl"):
        _library.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
