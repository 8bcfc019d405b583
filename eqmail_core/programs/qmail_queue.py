"""qmail-queue: queue the message on descriptor 0 for the envelope on descriptor 1.

Through the queue service; where none is installed or running, by itself if the caller may write the queue.
Exits: see values/queue_result.py.  Source: queue.md 3.5; qmail-queue(8).
"""

import os

from eqmail_core.net import queue_submit
from eqmail_core.system.installation import read_site
from eqmail_core.values import queue_result as q

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal

DEATH_S = 86400
CANNOT_CONFIGURE = 55

_IGNORED = tuple(getattr(signal, "SIG" + name) for name in "PIPE HUP INT QUIT VTALRM PROF XCPU XFSZ".split())
_BUGS = (signal.SIGABRT, signal.SIGSYS)


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Queue one message."""
    _guard()
    try:
        site = read_site(environ)
    except (OSError, ValueError):
        return CANNOT_CONFIGURE
    try:
        sock = queue_submit.connect(site.socket("queue"))
    except OSError:
        return q.SERVICE_AWAY
    if sock is None:
        from eqmail_core.store.alone import queue_alone

        return queue_alone(site, 0, 1)
    return queue_submit.submit(sock, 0, 1)


def _guard() -> None:
    """Signals as C has them: most are ignored, a day is the limit, and a bug has an exit code of its own."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o033)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    for number in _BUGS:
        signal.signal(number, lambda *_: os._exit(q.BUG))
    signal.signal(signal.SIGALRM, lambda *_: os._exit(q.TIMEOUT))
    signal.alarm(DEATH_S)
