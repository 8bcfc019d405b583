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
from concurrent.futures import Future
from typing import Protocol

from eqmail_core.control.filter_entries import FilterEntry
from eqmail_core.filters import verdict as op
from eqmail_core.filters.api import Context, context_of, verdict_of
from eqmail_core.filters.check_loading import LoadedCheck
from eqmail_core.filters.verdict import FilterQuery, FilterVerdict

MAX_THREADS = 100
"""Maximum number of calls running in threads, including abandoned ones."""

_running = threading.BoundedSemaphore(MAX_THREADS)
_MEANS = {b"tempfail": "refused for now", b"accept": "ignored", b"reject": "refused"}
_NO_ROOM = f"{MAX_THREADS} calls are running already"


class CheckFilter:
    """One check and one client; `write_log(text)` logs a line, `calls` waits for the check's methods."""

    __slots__ = ("_calls", "_check", "_entry", "_write_log", "stages")

    def __init__(
        self, entry: FilterEntry, check: LoadedCheck, write_log: Callable[[str], None], calls: "Calls"
    ) -> None:
        self._entry = entry
        self._check = check
        self._write_log = write_log
        self._calls = calls
        self.stages = check.stages

    def close(self) -> None:
        """End with the session; a running query must be cancelled."""

    async def ask(self, question: FilterQuery) -> FilterVerdict:
        """Query the check and return its verdict."""
        if self._check.problem:
            return self._no_answer(question, self._check.problem)
        method, timeout_s = getattr(self._check.subject, question.stage), self._entry.timeout_s
        try:
            if self._calls.has_loop and inspect.iscoroutinefunction(method):
                result = await asyncio.wait_for(_caught(method(context_of(question))), timeout_s)
            else:
                future = self._in_thread(method, question)
                if future is None:
                    return self._no_answer(question, _NO_ROOM)
                result = await self._calls.result(future, timeout_s)
        except TimeoutError:
            return self._no_answer(question, f"no answer for {timeout_s} seconds")
        return self._verdict(question, result)

    def _in_thread(self, method: Callable[[Context], object], question: FilterQuery) -> "Future[object] | None":
        """Call the method in a thread; the future gets its result or exception.

        None: no thread free.
        """
        if not _running.acquire(blocking=False):
            return None
        future: Future[object] = Future()
        # From now on it cannot be cancelled, only abandoned.
        future.set_running_or_notify_cancel()

        def work() -> None:
            try:
                result = method(context_of(question))
                if inspect.iscoroutine(result):
                    result = asyncio.run(result)
            except BaseException as surprise:  # The thread cannot report it in any other way.
                result = surprise
            finally:
                _running.release()
            future.set_result(result)

        threading.Thread(target=work, name=f"check {self._entry.name!r}", daemon=True).start()
        return future

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


class Calls(Protocol):
    """How the result of a call in a thread is awaited; `has_loop`: `async` methods run on the loop of the caller."""

    has_loop: bool

    async def result(self, future: "Future[object]", timeout_s: float) -> object:
        """Return the result.  Fails: TimeoutError."""


class BlockingCalls:
    """Calls of a blocking program for one client."""

    has_loop = False

    async def result(self, future: "Future[object]", timeout_s: float) -> object:
        """Return the result.  Fails: TimeoutError."""
        return future.result(timeout_s)


class AsyncCalls:
    """Calls of the resident service."""

    has_loop = True

    async def result(self, future: "Future[object]", timeout_s: float) -> object:
        """Return the result.  Fails: TimeoutError."""
        return await asyncio.wait_for(asyncio.wrap_future(future), timeout_s)


async def _caught(call: Coroutine[None, None, object]) -> object:
    """Return the result of foreign code, or its exception."""
    try:
        return await call
    except Exception as surprise:
        return surprise
