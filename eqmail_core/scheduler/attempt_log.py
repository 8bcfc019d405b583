"""Keeps the reasons of deferrals in lock/attempts, for `eqmail queue list` and `eqmail queue show`.

Deferrals of one turn are one write, without a flush: after a crash the last ones may be missing. Mail that is delivered
at its first attempt costs nothing here. At MAX_BYTES, and at the start, the file is written anew without messages that
have ended, beside the loop; lines that come meanwhile wait in memory, MAX_WAITING of them at most.

Fails: never; without the file, or on a full disk, reasons are not kept.
Source: queue/format/attempts.py.
"""

import fcntl
import os

from eqmail_core.queue.files import QueueFileError, QueueFiles
from eqmail_core.queue.format.attempts import (
    MAX_BYTES,
    Attempts,
    FailedAttempts,
    MessageKey,
    parse_attempts,
    render_all,
    render_attempts,
)
from eqmail_core.scheduler.ports import Delivery, WorkerPort
from eqmail_core.system.files import read_upto, write_all

MAX_WAITING = 10_000
"""Lines in memory while the file cannot be appended to; further ones are dropped."""

_MODE = 0o600
# A message in memory has no info/N yet when its first attempt fails.
_YOUNG_S = 600
# What is left after the file was written anew, at most: half of it, so that this is not due again at once.
_KEPT_BYTES = MAX_BYTES // 2
# Between two tries to write the file anew, when one did not succeed.
_PAUSE_S = 60


class AttemptLog:
    """Writes the file of one queue; `worker` runs what takes long."""

    def __init__(self, files: QueueFiles, worker: WorkerPort) -> None:
        self._files = files
        self._worker = worker
        self._lines: list[bytes] = []
        self._size = 0
        self._is_compacting = False
        self._not_before = 0
        self._fd = -1

    def open(self, now: int) -> None:
        """Open the file and take out what has ended since."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            self._fd = os.open(self._files.paths.attempts, flags, _MODE)
            self._size = os.fstat(self._fd).st_size
        except OSError:
            return
        if self._size:
            self._compact(now)

    def note(self, delivery: Delivery, reason: bytes, now: int) -> None:
        """Keep that an attempt failed for now."""
        if self._fd >= 0 and len(self._lines) < MAX_WAITING:
            job = delivery.job
            key = job.channel, delivery.offset
            self._lines.append(render_attempts((job.number, job.message.birth), key, FailedAttempts(1, now, reason)))

    def write(self, now: int) -> None:
        """Write what was noted in this turn."""
        if not self._lines or self._is_compacting:
            return
        text, self._lines = b"".join(self._lines), []
        try:
            write_all(self._fd, text)
        except OSError:
            pass
        self._size += len(text)
        if self._size > MAX_BYTES and now >= self._not_before:
            self._compact(now)

    def _compact(self, now: int) -> None:
        self._is_compacting = True
        self._not_before = now + _PAUSE_S

        def written(size: int) -> None:
            self._is_compacting = False
            self._size = size
            self.write(now)

        self._worker.do(lambda: self._write_anew(now), written)

    def _write_anew(self, now: int) -> int:
        """Write the file without messages that have ended; its size."""
        fd = self._fd
        try:
            # A reader has the lock for as long as it reads.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return self._size
        try:
            os.lseek(fd, 0, os.SEEK_SET)
            attempts = parse_attempts(read_upto(fd, 2 * MAX_BYTES))
            text = render_all(self._living(attempts, now), _KEPT_BYTES)
            os.ftruncate(fd, 0)
            write_all(fd, text)
            return len(text)
        except OSError:
            return self._size
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)

    def _living(self, attempts: Attempts, now: int) -> Attempts:
        return {message: found for message, found in attempts.items() if self._is_living(message, found, now)}

    def _is_living(self, message: MessageKey, recipients: "dict[tuple[int, int], FailedAttempts]", now: int) -> bool:
        number, birth = message
        if any(now - item.last < _YOUNG_S for item in recipients.values()):
            return True
        try:
            info = self._files.stat(self._files.paths.info(number))
        except QueueFileError:
            return True
        return info is not None and int(info.st_mtime) == birth
