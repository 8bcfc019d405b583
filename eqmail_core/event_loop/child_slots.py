"""How many children strangers can have a service run at a time: the others wait, and each address gets its turn.

Fails: never.
"""

from collections import deque
from collections.abc import Callable


class Slot:
    """One child that is to run, or runs; `leave` when it has ended, or nobody wants it any more."""

    __slots__ = ("_address", "_slots", "_start", "has_begun", "is_over")

    def __init__(self, slots: "ChildSlots", address: bytes, start: Callable[[], None]) -> None:
        self._slots = slots
        self._address = address
        self._start = start
        self.has_begun = False
        self.is_over = False

    def begin(self) -> None:
        """Start the child."""
        self.has_begun = True
        self._start()

    def leave(self) -> None:
        """Make room for another one; a second call does nothing."""
        if not self.is_over:
            self.is_over = True
            self._slots.left(self, self._address)


class ChildSlots:
    """At most `most` children at a time; a new number counts from the next child on."""

    __slots__ = ("_running", "_waiting", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._running = 0
        # Addresses in the order of their turns.
        self._waiting: dict[bytes, deque[Slot]] = {}

    @property
    def waiting(self) -> int:
        """How many children have to wait."""
        return sum(map(len, self._waiting.values()))

    def enter(self, address: bytes, start: Callable[[], None]) -> Slot:
        """Have a child of this address started by `start`: from within this call, or when it is its turn."""
        slot = Slot(self, address, start)
        if self._running < self.limit:
            self._running += 1
            slot.begin()
        else:
            self._waiting.setdefault(address, deque()).append(slot)
        return slot

    def left(self, slot: Slot, address: bytes) -> None:
        """A slot is left; to be called by the slot."""
        if not slot.has_begun:
            queue = self._waiting[address]
            queue.remove(slot)
            if not queue:
                del self._waiting[address]
            return
        self._running -= 1
        if self._waiting and self._running < self.limit:
            turn = next(iter(self._waiting))
            queue = self._waiting.pop(turn)
            following = queue.popleft()
            if queue:
                self._waiting[turn] = queue
            self._running += 1
            following.begin()
