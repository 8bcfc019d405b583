"""The work of bin/qmail-queue while the service runs.

It reads message and envelope from two descriptors, with the signals of qmail-queue.
Source: queue.md 3.5 (what qmail-queue reads, in which order, and its exit codes).
"""

import os

from eqmail_core.queue.client.submission import QueueSubmission
from eqmail_core.queue.format import exit_codes as q
from eqmail_core.queue.format.envelope import DSN_TIMEOUT_S, read_envelope
from eqmail_core.system.files import CHUNK, has_more

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal

LIFETIME_S = 86400

_IGNORED = tuple(getattr(signal, "SIG" + name) for name in "PIPE HUP INT QUIT VTALRM PROF XCPU XFSZ".split())
_BUGS = (signal.SIGABRT, signal.SIGSYS)


def limit_lifetime() -> None:
    """Set the signals of qmail-queue.

    Most are ignored, the time limit is a day, and a bug has its own exit code.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o033)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    for number in _BUGS:
        signal.signal(number, lambda *_: os._exit(q.BUG))
    signal.signal(signal.SIGALRM, lambda *_: os._exit(q.TIMEOUT))
    signal.alarm(LIFETIME_S)


def submit(submission: QueueSubmission, message: int, envelope: int, submitter: bytes = b"") -> int:
    """Submit a message and its envelope from two descriptors; return the exit code of qmail-queue.

    `submitter`: words about the client of the calling server, as in dsn/submitter.py.

    The message is read to its end first, the envelope only as far as needed. Faults of either are found here, and
    then the service drops the message.
    """
    try:
        while piece := _read(message):
            submission.write(piece)
        code, kept = read_envelope(lambda: _read(envelope), lambda: has_more(envelope, DSN_TIMEOUT_S))
    except _ReadError:
        return q.READ_ERROR
    except OSError:
        return q.SERVICE_AWAY
    if code != q.OK:
        return code
    if not submitter:
        return submission.commit(kept + b"\0")
    # Imported here: few programs serve clients.
    from eqmail_core.dsn.submitter import with_submitter
    from eqmail_core.mail.envelope import split_dsn

    records, dsn = split_dsn(kept)
    return submission.commit(b"%b\0%b\0" % (records, with_submitter(dsn, submitter)))


class _ReadError(Exception):
    """A descriptor of the caller could not be read."""


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, CHUNK)
    except OSError as error:
        raise _ReadError from error
