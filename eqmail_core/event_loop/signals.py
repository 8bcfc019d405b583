"""Signal handlers of a resident service that miss no early signal.

uvloop handles signals only while it runs.  One that arrives between `add_signal_handler` and the run of the loop is
delayed until the next.  If TERM were delayed so, the supervisor would wait without end.
"""

import asyncio
import signal
from collections.abc import Callable, Mapping


def install_signal_handlers(
    loop: asyncio.AbstractEventLoop, handlers: Mapping[signal.Signals, Callable[[], object]]
) -> None:
    """Call back on the loop for each signal; early signals call back when the loop runs."""
    early: list[int] = []
    for number in handlers:
        signal.signal(number, lambda arrived, _frame: early.append(arrived))

    def begin() -> None:
        for number, act in handlers.items():
            loop.add_signal_handler(number, act)
        for arrived in early:
            handlers[signal.Signals(arrived)]()

    loop.call_soon(begin)
