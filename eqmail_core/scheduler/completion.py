"""Ends messages on the disk: queues the bounce, then removes the files.

Source: queue.md 3.7 "done", 3.10 (qmail-send.c messdone, injectbounce).
"""

import os
from collections import OrderedDict
from collections.abc import Callable

from eqmail_core.dsn.notification import BounceConfig, Notification, ReportedMessage, compose, delay_warning
from eqmail_core.dsn.rate_limit import BounceLimit
from eqmail_core.mail.address import NULL_SENDER
from eqmail_core.mail.dates import date822
from eqmail_core.mail.message_identity import MessageIdentity
from eqmail_core.queue.files import QueueFileError, QueueFiles
from eqmail_core.queue.message_match import FITS, confirm_match, message_state
from eqmail_core.scheduler.due_queue import DueQueue
from eqmail_core.scheduler.ports import NOT_STARTED, SYSTEM_ERROR_PAUSE_S, Cleaner, Injector, Log

LOST_TEXT = (b"\n(The text of the message has been lost.)\n",)
"""Replaces the original message in a bounce when mess/N is lost."""

# Messages processed per turn.
_PER_TURN = 32
# Removed messages to remember until the queue service confirms their removal.
_MAX_ENDED = 10_000
# Delay after the first request to the cleaner that failed, such as one that a queue service took with it.
_CLEAN_AGAIN_S = 5


NOT_YET = b"not delivered yet\n"
"""The report about a recipient in a delay warning."""


class MessageCompletion:
    """Completes messages on the disk whose recipients are all finished.

    It also sends the bounces of all messages.
    `date()` returns the date for a bounce that is sent now. `notifying`: numbers whose bounce is being injected.
    `limit` bounds the bounces per sender; double bounces and delay warnings are exempt.
    `left`: numbers of ended messages whose mess/N may still be there, because the cleaner did not say that it is gone.
    """

    def __init__(
        self,
        files: QueueFiles,
        log: Log,
        cleaner: Cleaner,
        injector: Injector,
        bounce_config: BounceConfig,
        date: Callable[[], bytes],
    ) -> None:
        self.due = DueQueue()
        self.left = DueQueue()
        self.running = 0
        self.notifying: set[int] = set()
        self.limit = BounceLimit()
        self._files = files
        self._log = log
        self._cleaner = cleaner
        self._injector = injector
        self._bounce_config = bounce_config
        self._date = date
        self._now = 0
        self._ended: OrderedDict[int, MessageIdentity] = OrderedDict()
        self._left_mtimes: dict[int, int] = {}

    def add(self, number: int, due: int) -> None:
        """Schedule a message on the disk that may be finished."""
        self.due.insert(number, due)

    @property
    def ready(self) -> bool:
        """Whether a message could be completed now."""
        return self._cleaner.is_ready() and self._injector.is_ready()

    def pump(self, now: float) -> bool:
        """Complete the messages that are due; return whether to call again at once."""
        self._now = int(now)
        for _ in range(_PER_TURN):
            if not self._cleaner.is_ready() or (number := self.left.pop_due(now)) is None:
                break
            self._clean_again(number)
        for _ in range(_PER_TURN):
            if not self.ready or (number := self.due.pop_due(now)) is None:
                return False
            self._end(number)
        return True

    def wakes_at(self) -> int | None:
        """Return when the next message may be completed; None while none can."""
        times = [
            self.due.wakes_at() if self.ready else None,
            self.left.wakes_at() if self._cleaner.is_ready() else None,
        ]
        return min((time for time in times if time is not None), default=None)

    def send_notification(self, number: int, message: ReportedMessage, then: Callable[[int], None]) -> None:
        """Bounce a message.

        `then` is called with 0 when that is done, else with the seconds until the next try.
        """
        bounce = compose(message, self._bounce_config, self._date(), _id_left(number))
        if bounce is None:
            self._log.add(self._log.lines.triple_bounce(self._files.short(self._files.paths.bounce(number))))
            then(0)
            return
        to_sender = bounce.envelope.sender == NULL_SENDER
        wait_s = self.limit.wait_s(bounce.recipient, self._now) if to_sender else 0
        if wait_s:
            self._log.add(self._log.lines.bounce_waits(number, bounce.recipient, wait_s))
            then(wait_s)
            return

        def injected(wait_s: int) -> None:
            if wait_s and to_sender:
                self.limit.give_back(bounce.recipient)
            then(wait_s)

        self._inject(number, bounce, self._log.lines.bounced, injected)

    def send_warning(self, number: int, message: ReportedMessage, then: Callable[[bool], None]) -> bool:
        """Send the delay warning about a message that its owner marks; False where its sender gets none.

        `then` is called with whether it was queued.
        """
        warning = delay_warning(message, self._bounce_config, self._date(), _id_left(number))
        if warning is None:
            return False
        self._inject(number, warning, self._log.lines.warned, lambda wait_s: then(not wait_s))
        return True

    def send_delay_warning(self, number: int, message: ReportedMessage) -> None:
        """Send the delay warning about a message on the disk, once."""
        try:
            warning = delay_warning(message, self._bounce_config, self._date(), _id_left(number))
            if warning is None or number in self.notifying or self._files.is_warned(number) or not self.ready:
                return
        except QueueFileError as trouble:
            self._log.warning(trouble.text)
            return
        self.notifying.add(number)

        def on_sent(wait_s: int) -> None:
            self.notifying.discard(number)
            if not wait_s:
                try:
                    self._files.note_warned(number)
                    confirm_match(self._files, number)
                except QueueFileError as trouble:
                    self._log.warning(trouble.text)

        self._inject(number, warning, self._log.lines.warned, on_sent)

    def _inject(
        self, number: int, bounce: Notification, line: Callable[[int, int], bytes], then: Callable[[int], None]
    ) -> None:
        log = self._log

        def injected(code: int, qp: int) -> None:
            self.running -= 1
            if code == 0:
                log.add(line(number, qp))
            elif code == NOT_STARTED:
                log.warning(b"unable to start qmail-queue, will try later")
            else:
                log.warning(b"trouble injecting bounce message, will try later")
            then(SYSTEM_ERROR_PAUSE_S if code else 0)

        self.running += 1
        self._injector.inject(bounce, bounce.pieces, injected)

    def _end(self, number: int) -> None:
        files = self._files
        try:
            if not files.is_finished(number):
                return
            if not files.has_failures(number):
                self.remove(number)
                return
            message = self.bounce_now(number)
        except QueueFileError as trouble:
            self._retry_later(number, trouble)
            return

        self.notifying.add(number)

        def on_sent(wait_s: int) -> None:
            self.notifying.discard(number)
            try:
                if wait_s:
                    self.due.insert(number, self._now + wait_s)
                    return
                files.remove_failures(number)
                self.remove(number)
            except QueueFileError as trouble:
                self._retry_later(number, trouble)

        self.send_notification(number, message, on_sent)

    def bounce_now(self, number: int) -> ReportedMessage:
        """Return a message on the disk as its bounce reports it.  Fails: QueueFileError."""
        files = self._files
        info = files.info(number)
        is_there = message_state(files, number) == FITS
        return ReportedMessage(
            info.sender,
            date822(info.identity.birth),
            files.size(number),
            lambda: files.failures(number),
            lambda: files.message(number) if is_there else LOST_TEXT,
            info.dsn,
        )

    def remove(self, number: int) -> None:
        """Remove a finished message from the queue.  Fails: QueueFileError."""
        self._log.add(self._log.lines.end_message(number))
        identity = self._files.identity(number)
        self._files.remove_info(number)
        if identity is not None:
            self._ended[number] = identity
            if len(self._ended) > _MAX_ENDED:
                self._ended.popitem(last=False)
        self.clean(number)

    def has_ended(self, identity: MessageIdentity) -> bool:
        """Whether exactly this message was removed although its journal may not know.

        The answer is given once.
        """
        found = self._ended.get(identity.number)
        if found is None or not identity.is_same(found):
            return False
        del self._ended[identity.number]
        return True

    def clean(self, number: int, again_s: int = _CLEAN_AGAIN_S) -> None:
        """Have the remaining files of a message removed, which has no info/N (any more).

        Where the cleaner does not say that it has done that, it is asked again `again_s` seconds later.
        """
        name = b"foop/%d" % number
        mtime_ns = self._mtime_ns(number)

        def cleaned(answer: bytes) -> None:
            if answer == b"+":
                self._ended.pop(number, None)
                return
            self._log.warning(b"qmail-clean unable to clean up " + name)
            if mtime_ns and len(self._left_mtimes) < _MAX_ENDED:
                self._left_mtimes[number] = mtime_ns
                self.left.insert(number, self._now + again_s)

        self._cleaner.clean(name, cleaned)

    def _clean_again(self, number: int) -> None:
        """Ask once more for the removal of mess/N, unless it has gone, or is that of another message by now."""
        mtime_ns = self._left_mtimes.pop(number, 0)
        paths = self._files.paths
        is_used = os.path.exists(paths.info(number)) or os.path.exists(paths.todo(number))
        if mtime_ns and mtime_ns == self._mtime_ns(number) and not is_used:
            self.clean(number, SYSTEM_ERROR_PAUSE_S)

    def _mtime_ns(self, number: int) -> int:
        """Return when mess/N was written; 0 where it is not there, or cannot be looked at."""
        try:
            state = self._files.stat(self._files.paths.mess(number))
        except QueueFileError:
            return 0
        return 0 if state is None else state.st_mtime_ns

    def _retry_later(self, number: int, problem: QueueFileError) -> None:
        self._log.warning(problem.text)
        self.due.insert(number, self._now + SYSTEM_ERROR_PAUSE_S)


def _id_left(number: int) -> bytes:
    """Return the left part of the Message-ID for a notification that is sent now about message `number`."""
    return b"%d.%b" % (number, os.urandom(12).hex().encode())
