"""Python checks as filters of one session: called with a time limit, and not trusted.

A plain method runs in a thread, an `async` one on the event loop (of the service, or of its thread where there is
none).  A call that exceeds its time is abandoned.  Its thread cannot be ended, so the number of running calls is
limited.

Fails: never; a check that raises, times out or is unavailable gives the default verdict of its entry.
"""

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine

from eqmail_core.control.filter_entries import FilterEntry
from eqmail_core.filters import verdict as op
from eqmail_core.filters.api import context_of, verdict_of
from eqmail_core.filters.check_loading import LoadedCheck
from eqmail_core.filters.verdict import FilterQuery, FilterVerdict

MAX_THREADS = 100
"""Maximum number of calls running in threads, including abandoned ones."""

_running = threading.BoundedSemaphore(MAX_THREADS)
_MEANS = {b"tempfail": "refused for now", b"accept": "ignored", b"reject": "refused"}
_NO_ROOM = f"{MAX_THREADS} calls are running already"


class CheckFilter:
    """One check and one client; `write_log(text)` logs a line."""

    __slots__ = ("_check", "_entry", "_write_log", "stages")

    def __init__(self, entry: FilterEntry, check: LoadedCheck, write_log: Callable[[str], None]) -> None:
        self._entry = entry
        self._check = check
        self._write_log = write_log
        self.stages = check.stages

    def close(self) -> None:
        """End with the session."""

    def _call(self, question: FilterQuery) -> object:
        """Call the method; return its answer, or a coroutine for an `async` method."""
        return getattr(self._check.subject, question.stage)(context_of(question))

    def _call_and_release(self, question: FilterQuery) -> object:
        answer = self._call(question)
        return asyncio.run(answer) if inspect.iscoroutine(answer) else answer

    def _in_thread(self, question: FilterQuery, done: Callable[[object], None]) -> bool:
        """Call the method in a thread, which passes its result or exception to `done`.

        False: no thread free.
        """
        if not _running.acquire(blocking=False):
            return False

        def work() -> None:
            try:
                result = self._call_and_release(question)
            except BaseException as surprise:  # The thread cannot report it in any other way.
                result = surprise
            finally:
                _running.release()
            done(result)

        threading.Thread(target=work, name=f"check {self._entry.name!r}", daemon=True).start()
        return True

    def _verdict(self, question: FilterQuery, result: object) -> FilterVerdict:
        if isinstance(result, BaseException):
            return self._no_answer(question, f"{type(result).__name__}: {result}")
        try:
            return verdict_of(result)
        except (TypeError, ValueError) as error:
            return self._no_answer(question, str(error))

    def _no_answer(self, question: FilterQuery, problem: str) -> FilterVerdict:
        name, default = self._entry.name.decode("ascii", "backslashreplace"), self._entry.default
        self._write_log(f"check {name}: {question.stage}: {problem}; {_MEANS[default]} (default={default.decode()})")
        is_too_early = question.stage in (op.CONNECTED, op.HELLO) and default == b"tempfail"
        return op.NO_VERDICT if is_too_early else op.verdict_when_unavailable(default)

    @property
    def _overrun(self) -> str:
        return f"no answer for {self._entry.timeout_s} seconds"


class BlockingCheck(CheckFilter):
    """A check in a blocking program for one client."""

    def ask(self, question: FilterQuery) -> FilterVerdict:
        """Query the check and return its verdict."""
        if self._check.problem:
            return self._no_answer(question, self._check.problem)
        ended = threading.Event()
        results: list[object] = []

        def done(result: object) -> None:
            results.append(result)
            ended.set()

        if not self._in_thread(question, done):
            return self._no_answer(question, _NO_ROOM)
        if not ended.wait(self._entry.timeout_s):
            return self._no_answer(question, self._overrun)
        return self._verdict(question, results[0])


class AsyncCheck(CheckFilter):
    """A check in the resident service."""

    __slots__ = ("_done", "_loop", "_question", "_task", "_timer")

    def __init__(
        self,
        entry: FilterEntry,
        check: LoadedCheck,
        write_log: Callable[[str], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(entry, check, write_log)
        self._loop = loop
        self._done: Callable[[FilterVerdict], None] | None = None
        self._task: asyncio.Task[object] | None = None

    def ask(self, question: FilterQuery, done: Callable[[FilterVerdict], None]) -> None:
        """Query the check.

        `done` is called later, never from within this call, and not after `close`.
        """
        self._question, self._done = question, done
        if self._check.problem:
            self._loop.call_soon(self._give_up, question, self._check.problem)
            return
        self._timer = self._loop.call_later(self._entry.timeout_s, self._give_up, question, self._overrun)
        if inspect.iscoroutinefunction(getattr(self._check.subject, question.stage)):
            self._task = self._loop.create_task(self._await(question))
        elif not self._in_thread(question, lambda result: self._post(question, result)):
            self._loop.call_soon(self._give_up, question, _NO_ROOM)

    def close(self) -> None:
        """Cancel the pending query."""
        self._done = None
        self._stop()

    async def _await(self, question: FilterQuery) -> None:
        call = self._call(question)
        assert isinstance(call, Coroutine)
        try:
            result = await call
        except Exception as surprise:  # Foreign code: its exception is its answer.
            result = surprise
        self._on_result(question, result)

    def _post(self, question: FilterQuery, result: object) -> None:
        """Pass a result from the thread to the loop, which may be closed."""
        try:
            self._loop.call_soon_threadsafe(self._on_result, question, result)
        except RuntimeError:
            pass

    def _on_result(self, question: FilterQuery, result: object) -> None:
        if self._done is not None and question is self._question:
            self._task = None
            self._finish(self._verdict(question, result))

    def _give_up(self, question: FilterQuery, problem: str) -> None:
        if self._done is not None and question is self._question:
            self._finish(self._no_answer(question, problem))

    def _finish(self, verdict: FilterVerdict) -> None:
        done, self._done = self._done, None
        self._stop()
        if done is not None:
            done(verdict)

    def _stop(self) -> None:
        timer = getattr(self, "_timer", None)
        if timer is not None:
            timer.cancel()
        if self._task is not None:
            self._task.cancel()
            self._task = None
