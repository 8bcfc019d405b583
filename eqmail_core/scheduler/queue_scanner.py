"""Finds new messages in todo/, old ones in info/, and abandoned files in mess/.

Every search takes one small step per turn, so that neither a large queue nor a flood of new messages stops deliveries.

Source: queue.md 3.7 (qmail-send.c todo, pqstart, pqadd, cleanup).
"""

import os
from collections.abc import Callable

from eqmail_core.queue.files import QueueFileError, QueueFiles
from eqmail_core.queue.format.channels import HELD_UNTIL
from eqmail_core.queue.preprocess import Preprocessed, Preprocessor
from eqmail_core.queue.scan import NOTHING, QueueScan, parts
from eqmail_core.scheduler.completion import MessageCompletion
from eqmail_core.scheduler.due_queue import DueQueue
from eqmail_core.scheduler.ports import SYSTEM_ERROR_PAUSE_S, Cleaner, Log, WorkerPort
from eqmail_core.scheduler.scheduler import Scheduler

TODO_SCAN_S = 1500
"""Interval of searches of todo/, in case a trigger was lost."""

SWEEP_S = 76431
"""Interval of searches for abandoned files in mess/."""

ABANDONED_S = 129600
"""Age at which the files of an injection that never ended count as abandoned."""

PAUSE_S = 10
"""Delay before a folder that cannot be opened is tried again."""

_STEPS_PER_TURN = 64
_PREPARED_AT_A_TIME = 4


class PeriodicScan:
    """One repeated search through folders: its next start and its next message number."""

    def __init__(self, files: QueueFiles, log: Log, folders: list[str], every_s: int) -> None:
        self.next_start = 0
        self._files = files
        self._log = log
        self._folders = folders
        self._every_s = every_s
        self._scan: QueueScan | None = None

    @property
    def under_way(self) -> bool:
        """Whether a search has begun and not ended."""
        return self._scan is not None

    def step(self, now: int) -> int:
        """Return a number, or NOTHING: at the end, between searches, after an error, or for other entries."""
        scan = self._scan
        if scan is None:
            if now < self.next_start:
                return NOTHING
            scan = self._scan = QueueScan(self._folders)
            self.next_start = now + self._every_s
        try:
            for _ in range(_STEPS_PER_TURN):
                number = scan.step()
                if number is None:
                    self._scan = None
                    return NOTHING
                if number != NOTHING:
                    return number
        except OSError:
            self._log.alert(b"unable to opendir %b, sleeping..." % self._files.short(scan.folder))
            self._scan = None
            self.next_start = now + PAUSE_S
        return NOTHING


class QueueScanner:
    """Finds messages and passes them to the scheduler."""

    def __init__(
        self,
        scheduler: Scheduler,
        completion: MessageCompletion,
        preprocessor: Preprocessor,
        cleaner: Cleaner,
        worker: WorkerPort,
        is_held: Callable[[int], bool],
    ) -> None:
        self._scheduler = scheduler
        self._completion = completion
        self._files = scheduler.files
        self._log = scheduler.log
        self._preprocessor = preprocessor
        self._cleaner = cleaner
        self._worker = worker
        self._is_held = is_held
        paths = self._files.paths
        self._todo = PeriodicScan(self._files, self._log, paths.todo_dirs(), TODO_SCAN_S)
        self._sweep = PeriodicScan(self._files, self._log, paths.mess_dirs(), SWEEP_S)
        self._preprocessing: set[int] = set()
        self._damage = scheduler.damage
        self._uncertain = DueQueue()

    def triggered(self) -> None:
        """Search todo/ because a message arrived, after a search that is under way."""
        self._todo.next_start = 0

    def find_old(self, now: int) -> None:
        """Load every preprocessed message; remove files that belong to none.

        Fails: OSError for unreadable folders.
        """
        self._scheduler.now = now
        self._damage.sweep_bounces()
        for part in parts(self._files.paths):
            for number in part.old & part.new:
                # A cleaner that an earlier scheduler asked may remove todo/N between this search and that of todo/.
                self._look_again(number, now)
            for number in self._damage.sweep(part):
                try:
                    self._enqueue_found(number, part.due(number), now)
                except OSError:
                    self._add(number, now)

    def set_back(self, seconds: int) -> None:
        """Adjust to a clock that was set back, so that no search waits longer for it."""
        self._todo.next_start -= seconds
        self._sweep.next_start -= seconds
        self._uncertain.set_back(seconds)

    @property
    def busy(self) -> bool:
        """Whether a message is being preprocessed right now."""
        return bool(self._preprocessing)

    def pump(self, now: int) -> bool:
        """Do one step of every search; return whether to call again at once."""
        number = self._uncertain.pop_due(now)
        if number is not None:
            self._add(number, now)
        if not self._cleaner.is_ready():
            return False
        if not self._scheduler.exiting:
            self._start_todo_scan(now)
        number = self._sweep.step(now)
        if number != NOTHING and not self._is_held(number) and self._files.is_abandoned(number, now, ABANDONED_S):
            self._completion.clean(number)
        more_new = self._todo.under_way and len(self._preprocessing) < _PREPARED_AT_A_TIME
        return self._sweep.under_way or (more_new and not self._scheduler.exiting)

    def wakes_at(self) -> int | None:
        """Return when the next search step is due; None while none can be done."""
        times = [self._uncertain.wakes_at()]
        if self._cleaner.is_ready():
            times.append(self._sweep.next_start)
            if not self._preprocessing and not self._scheduler.exiting:
                times.append(self._todo.next_start)
        return min((time for time in times if time is not None), default=None)

    def _start_todo_scan(self, now: int) -> None:
        if len(self._preprocessing) >= _PREPARED_AT_A_TIME:
            return
        if not self._todo.under_way and self._preprocessing:
            return
        number = self._todo.step(now)
        if number == NOTHING or number in self._preprocessing:
            return
        self._preprocessing.add(number)
        if len(self._uncertain):
            self._uncertain.discard(number)
        route = self._scheduler.routes.route
        lines: list[bytes] = []

        def prepare() -> Preprocessed | QueueFileError:
            try:
                return self._preprocessor.preprocess(number, route, lines.append)
            except QueueFileError as trouble:
                return trouble

        def prepared(result: Preprocessed | QueueFileError) -> None:
            for line in lines:
                self._log.add(line)
            if isinstance(result, QueueFileError):
                self._log.warning(result.text)
                self._preprocessing.discard(number)
                if not os.path.exists(self._files.paths.todo(number)):
                    self._look_again(number, self._scheduler.now)
            else:
                name = self._files.short(self._files.paths.todo(number))
                self._cleaner.clean(name, lambda answer: self._entered(number, name, result, answer))

        self._worker.do(prepare, prepared)

    def _entered(self, number: int, name: bytes, prepared: Preprocessed, answer: bytes) -> None:
        self._preprocessing.discard(number)
        now = self._scheduler.now
        if answer != b"+":
            self._log.warning(b"qmail-clean unable to clean up " + name)
            if not self._is_ready_despite_error(number):
                self._todo.next_start = min(self._todo.next_start, now + SYSTEM_ERROR_PAUSE_S)
                self._look_again(number, now)
                return
        for channel in prepared.channels:
            self._scheduler.enqueue(number, channel, HELD_UNTIL if prepared.is_held else now)
        if not prepared.channels:
            self._completion.add(number, now)

    def _is_ready_despite_error(self, number: int) -> bool:
        """Whether the cleaner removed todo/N although its answer never came."""
        try:
            return self._files.birth_of(number) is not None
        except QueueFileError as trouble:
            self._log.warning(trouble.text)
            return False

    def _look_again(self, number: int, now: int) -> None:
        """Look at a message later: todo/N may disappear after all, and then no search of todo/ finds it any more."""
        self._uncertain.insert(number, now + SYSTEM_ERROR_PAUSE_S)

    def _add(self, number: int, now: int) -> None:
        try:
            found = self._files.birth_of(number)
        except QueueFileError as trouble:
            self._log.warning(trouble.text)
            self._look_again(number, now)
            return
        if found is not None:
            self._enqueue_found(number, found, now)
        elif os.path.exists(self._files.paths.todo(number)):
            self._look_again(number, now)

    def _enqueue_found(self, number: int, found: list[tuple[int, int]], now: int) -> None:
        for channel, due in found:
            self._scheduler.enqueue(number, channel, self._scheduler.plausible(due, channel))
        if not found:
            self._completion.add(number, now)
