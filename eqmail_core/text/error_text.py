"""qmail's own texts for system errors, and the set of temporary ones.

qmail programs never print the C library's texts, so that reports are the same on all systems.

Source: control-files.md 2.11; delivery.md "temporary errno".
"""

import errno as _e

_TEXTS = {
    _e.EINTR: b"interrupted system call",
    _e.ENOMEM: b"out of memory",
    _e.ENOENT: b"file does not exist",
    _e.ETXTBSY: b"text busy",
    _e.EIO: b"input/output error",
    _e.EEXIST: b"file already exists",
    _e.ETIMEDOUT: b"timed out",
    _e.EINPROGRESS: b"operation in progress",
    _e.EAGAIN: b"temporary failure",
    _e.EPIPE: b"broken pipe",
    _e.EPERM: b"permission denied",
    _e.EACCES: b"access denied",
    _e.ENODEV: b"device not configured",
    _e.EPROTO: b"protocol error",
    _e.EISDIR: b"is a directory",
    _e.ESRCH: b"no such process",
    _e.E2BIG: b"argument list too long",
    _e.ENOEXEC: b"exec format error",
    _e.EBADF: b"file descriptor not open",
    _e.ECHILD: b"no child processes",
    _e.EDEADLK: b"operation would cause deadlock",
    _e.EFAULT: b"bad address",
    _e.ENOTBLK: b"not a block device",
    _e.EBUSY: b"device busy",
    _e.EXDEV: b"cross-device link",
    _e.ENOTDIR: b"not a directory",
    _e.EINVAL: b"invalid argument",
    _e.ENFILE: b"system cannot open more files",
    _e.EMFILE: b"process cannot open more files",
    _e.ENOTTY: b"not a tty",
    _e.EFBIG: b"file too big",
    _e.ENOSPC: b"out of disk space",
    _e.ESPIPE: b"unseekable descriptor",
    _e.EROFS: b"read-only file system",
    _e.EMLINK: b"too many links",
    _e.EDOM: b"input out of range",
    _e.ERANGE: b"output out of range",
    _e.EALREADY: b"operation already in progress",
    _e.ENOTSOCK: b"not a socket",
    _e.EDESTADDRREQ: b"destination address required",
    _e.EMSGSIZE: b"message too long",
    _e.EADDRINUSE: b"address already used",
    _e.EADDRNOTAVAIL: b"address not available",
    _e.ENETDOWN: b"network down",
    _e.ENETUNREACH: b"network unreachable",
    _e.ENETRESET: b"network reset",
    _e.ECONNABORTED: b"connection aborted",
    _e.ECONNRESET: b"connection reset",
    _e.ENOBUFS: b"out of buffer space",
    _e.EISCONN: b"already connected",
    _e.ENOTCONN: b"not connected",
    _e.ECONNREFUSED: b"connection refused",
    _e.ELOOP: b"symbolic link loop",
    _e.ENAMETOOLONG: b"file name too long",
    _e.EHOSTDOWN: b"host down",
    _e.EHOSTUNREACH: b"host unreachable",
    _e.ENOTEMPTY: b"directory not empty",
    _e.EDQUOT: b"disk quota exceeded",
    _e.ESTALE: b"stale NFS file handle",
    _e.ENOLCK: b"too many locks",
}

_TEMPORARY_NAMES = (
    "EINTR ENOMEM ETXTBSY EIO ETIMEDOUT EWOULDBLOCK EAGAIN EDEADLK EBUSY ENFILE EMFILE EFBIG ENOSPC ENETDOWN "
    "ENETUNREACH ENETRESET ECONNABORTED ECONNRESET ENOBUFS ETOOMANYREFS ECONNREFUSED EHOSTDOWN EHOSTUNREACH "
    "EPROCLIM EUSERS EDQUOT ESTALE ENOLCK"
)
TEMPORARY_ERRNOS = frozenset(getattr(_e, name) for name in _TEMPORARY_NAMES.split() if hasattr(_e, name))


def error_text(number: int | None) -> bytes:
    """Return qmail's text for the system error `number`, else b"unknown error"."""
    return _TEXTS.get(number or 0, b"unknown error")


def is_temporary(error: OSError) -> bool:
    """Return whether a retry may help."""
    return error.errno in TEMPORARY_ERRNOS
