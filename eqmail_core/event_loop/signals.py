"""Signals that a resident service heeds, however early they come.

uvloop hears signals only while it runs: one that comes after `add_signal_handler` and before that waits for the next.
A service that missed its TERM so would be waited for without end.
"""

import asyncio
import signal
from collections.abc import Callable, Mapping


def install_signal_handlers(
    loop: asyncio.AbstractEventLoop, handlers: Mapping[signal.Signals, Callable[[], object]]
) -> None:
    """Have each signal call back on the loop; those that come before it runs do so when it does."""
    early: list[int] = []
    for number in handlers:
        signal.signal(number, lambda told, _frame: early.append(told))

    def begin() -> None:
        for number, act in handlers.items():
            loop.add_signal_handler(number, act)
        for told in early:
            handlers[signal.Signals(told)]()

    loop.call_soon(begin)
