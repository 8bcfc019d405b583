"""The executor of the resident scheduler: one thread for calls that may block."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class ThreadExecutor:
    """One thread for blocking work; results come back on the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_result: Callable[[], None]) -> None:
        self._loop = loop
        self._on_result = on_result
        self._threads = ThreadPoolExecutor(1)

    def do(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Run `work` in the thread and pass its result to `then` on the loop."""

        def done(future: "asyncio.Future[T]") -> None:
            then(future.result())
            self._on_result()

        self._loop.run_in_executor(self._threads, work).add_done_callback(done)
