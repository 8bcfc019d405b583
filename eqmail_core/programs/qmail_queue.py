"""qmail-queue: queue the message on descriptor 0 for the envelope on descriptor 1.

Through the queue service; where none is installed or running, by itself if the caller may write the queue.
Exits: see queue/format/exit_codes.py.  Source: queue.md 3.5; qmail-queue(8).
"""

from eqmail_core.outcome import SUBMITTER_VARIABLE
from eqmail_core.queue.client.qmail_queue import limit_lifetime, submit
from eqmail_core.queue.client.submission import QueueSubmission, connect
from eqmail_core.queue.format import exit_codes as q
from eqmail_core.system.installation import read_site

CANNOT_CONFIGURE = 55


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Queue one message."""
    limit_lifetime()
    try:
        site = read_site(environ)
    except (OSError, ValueError):
        return CANNOT_CONFIGURE
    try:
        sock = connect(site.socket("queue"))
    except OSError:
        return q.SERVICE_AWAY
    if sock is None:
        from eqmail_core.queue.standalone import queue_without_service

        return queue_without_service(site, 0, 1)
    return submit(QueueSubmission(sock), 0, 1, environ.get(SUBMITTER_VARIABLE, b""))
