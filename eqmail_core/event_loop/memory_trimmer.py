"""Returns memory to the system after a burst of mail.

The allocator keeps freed memory for later use.  A service that once held thousands of messages would stay large for
ever.
"""

import asyncio
from collections.abc import Callable

from eqmail_core.system.kernel import trim_memory

_LOOK_S = 3.0
_BURST = 500


class MemoryTrimmer:
    """Checks `held()`, the number of messages in memory, regularly while the loop runs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, held: Callable[[], int]) -> None:
        self._loop = loop
        self._held = held
        self._limit = 0
        self._look()

    def _look(self) -> None:
        held = self._held()
        self._limit = max(self._limit, held)
        if self._limit >= _BURST and held < self._limit // 8:
            trim_memory()
            self._limit = held
        self._loop.call_later(_LOOK_S, self._look)
