"""Warns the senders of messages of a shared queue that are given back, once, when they are older than the setting.

Source: control/delaywarning; RFC 3461 section 4.1 (NOTIFY=DELAY).
"""

from collections.abc import Callable, Iterator

from eqmail_core.dsn.notification import ReportedMessage
from eqmail_core.mail.dates import date822
from eqmail_core.queue.format.recipient_list import numbered
from eqmail_core.scheduler.completion import NOT_YET, MessageCompletion
from eqmail_core.scheduler.memory.message import MemoryMessage, read_piecewise
from eqmail_core.scheduler.scheduler import Scheduler


class DelayWarnings:
    """The warnings of one scheduler; `delay_s`: age at which one is due, 0 for never."""

    def __init__(self, scheduler: Scheduler, completion: MessageCompletion, delay_s: int) -> None:
        self._scheduler = scheduler
        self._completion = completion
        self._delay_s = delay_s

    def send(self, message: MemoryMessage, then: Callable[[bool], None]) -> bool:
        """Send the warning about a message; `then` is called with whether that worked.  False: none is due."""
        age = self._scheduler.now - message.identity.birth
        if not self._delay_s or age < self._delay_s or message.is_warned or not self._completion.ready:
            return False
        waiting = list(self._waiting(message))
        if not waiting or message.body.fd < 0:
            return False
        report = ReportedMessage(
            message.sender,
            date822(message.identity.birth),
            message.size,
            lambda: waiting,
            lambda: read_piecewise(message.body.fd, 0, message.size),
            message.dsn,
        )
        return self._completion.send_warning(message.number, report, then)

    def _waiting(self, message: MemoryMessage) -> Iterator[bytes]:
        """Yield a paragraph for each recipient that waits, and whose sender wants to know."""
        for job, addresses in zip(message.jobs, message.recipients, strict=True):
            done = set(job.done)
            for offset, _, address in numbered(addresses):
                dsn = job.recipient_dsn(offset)
                if offset not in done and dsn.wants_delay:
                    yield self._scheduler.block(address, NOT_YET, dsn)
