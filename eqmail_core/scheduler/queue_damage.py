"""Finds queue files of no message or of an ended one; removes what is safe.

    lists, bounce/N, info/N.tmp without info/N    a spill or a preprocessing was cut short: removed at start
    info/N without mess/N                         there is nothing to deliver: removed, with an alert, after the
                                                  noted failures have been reported to its sender
    info/N older than mess/N                      mess/N is another message with the same number: held, with an alert
    mess/N in the folder of another split         left alone, with an alert

Fails: OSError from the sweeps where a folder cannot be read; a file that cannot be removed is a warning.
Source: queue.md 3.3, 3.4.
"""

import os

from eqmail_core.queue.admin.actions import drop_recipients, remove_lists
from eqmail_core.queue.files import QueueFileError, QueueFiles
from eqmail_core.queue.format.channels import CHANNELS
from eqmail_core.queue.message_match import FITS, FOREIGN, NO_INFO, message_state
from eqmail_core.queue.scan import QueuePartition, numbers_in
from eqmail_core.scheduler.ports import Log

WHOLE, HELD, GONE, FINISHED = range(4)
"""A message can be scheduled; must be left alone; is not there (any more); has only failures left to report."""

_NOT_DAMAGED = {FITS: WHOLE, NO_INFO: GONE}


class QueueDamage:
    """Checks messages for damage, removes what is safe to remove, and logs it."""

    def __init__(self, files: QueueFiles, log: Log) -> None:
        self._files = files
        self._log = log

    def sweep(self, part: QueuePartition) -> set[int]:
        """Remove files without a message in one part of the queue.

        Returns the messages that can be scheduled.

        Call this before anything is written.
        """
        paths = self._files.paths
        for name, numbers in zip(CHANNELS, part.listed, strict=True):
            for number in numbers - part.old:
                if number % paths.split == part.index:
                    self._remove(paths.channel(name, number))
        for path in part.unfinished:
            self._remove(path)
        messages = part.old - part.new
        for number in messages - part.messages():
            if self._checked(number) not in (WHOLE, FINISHED):
                messages.discard(number)
        return messages

    def sweep_bounces(self) -> None:
        """Remove every bounce/N without an info/N."""
        paths = self._files.paths
        for number in list(numbers_in([paths.bounces])):
            if not os.path.exists(paths.info(number)):
                self._remove(paths.bounce(number))

    def check(self, number: int) -> int:
        """Return whether a waiting message can be scheduled: WHOLE, HELD, GONE or FINISHED.  Fails: QueueFileError."""
        files = self._files
        state = message_state(files, number)
        if state in _NOT_DAMAGED:
            return _NOT_DAMAGED[state]
        mess, info = files.short(files.paths.mess(number)), files.short(files.paths.info(number))
        if state == FOREIGN:
            self._log.alert(b"%b is younger than %b, so it is another message: not delivered, held" % (mess, info))
            return HELD
        paths = (f"{folder}/{number}" for folder in files.paths.mess_dirs())
        misplaced = next(filter(os.path.exists, paths), None)
        if misplaced is None:
            return self._remove_lost(number, mess)
        self._log.alert(b"%b should be %b: left alone until eqmail check --fix" % (files.short(misplaced), mess))
        return GONE

    def remove_stale(self, number: int) -> None:
        """Remove the files of an earlier message with this number; mess/N is of another.  Fails: QueueFileError."""
        info = self._files.short(self._files.paths.info(number))
        self._log.alert(b"%b was left by an earlier message with this number: removed" % info)
        drop_recipients(self._files, number)
        self._files.remove_info(number)

    def _checked(self, number: int) -> int:
        try:
            return self.check(number)
        except QueueFileError as trouble:
            self._log.warning(trouble.text)
            return WHOLE

    def _remove_lost(self, number: int, mess: bytes) -> int:
        files = self._files
        try:
            sender = self._log.lines.safe(files.info(number).sender)
        except QueueFileError:
            sender = b""
        names = [CHANNELS[channel].encode() for channel, _ in files.birth_of(number) or ()]
        left = b" and ".join(names) + b" recipients were left" if names else b"no recipients were left"
        text = b"msg %d from <%b>: %b is missing; taken out of the queue, %b" % (number, sender, mess, left)
        # Logged for each message, without suppressing repetitions.
        self._log.add(self._log.lines.alert(text))
        if files.has_failures(number):
            remove_lists(files, number)
            return FINISHED
        drop_recipients(files, number)
        files.remove_info(number)
        return GONE

    def _remove(self, path: str) -> None:
        try:
            os.unlink(path)
        except OSError:
            self._log.warning(b"unable to unlink " + self._files.short(path))
