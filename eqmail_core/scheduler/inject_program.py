"""Injects bounces through qmail-queue, in pieces, as C does.

Memory use does not grow with the message.
"""

from collections.abc import Callable, Iterator, Mapping

from eqmail_core.dsn.notification import Notification
from eqmail_core.queue.client.blocking import open_queue
from eqmail_core.queue.format.exit_codes import READ_ERROR
from eqmail_core.scheduler.ports import NOT_STARTED, WorkerPort
from eqmail_core.site.site import Site


class ProgramInjector:
    """Injects through qmail-queue or the program that QMAILQUEUE names."""

    def __init__(self, site: Site, environ: Mapping[bytes, bytes], worker: WorkerPort) -> None:
        self._site = site
        self._environ = environ
        self._worker = worker

    def is_ready(self) -> bool:
        """Always True."""
        return True

    def inject(self, bounce: Notification, pieces: Iterator[bytes], then: Callable[[int, int], None]) -> None:
        """Run the program to its end."""
        self._worker.do(lambda: self._run(bounce, pieces), lambda result: then(*result))

    def _run(self, bounce: Notification, pieces: Iterator[bytes]) -> tuple[int, int]:
        try:
            queue = open_queue(self._site, self._environ)
        except OSError:
            return NOT_STARTED, 0
        broken = False
        try:
            for piece in pieces:
                queue.write(piece)
        except OSError:
            broken = True
            queue.abort()
        code = queue.finish(bounce.envelope)
        return code or (READ_ERROR if broken else 0), queue.qp
