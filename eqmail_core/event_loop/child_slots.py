"""Limits the children that clients can start at a time; the addresses take turns.

Fails: never.
"""

from collections import Counter, deque
from collections.abc import Callable


class Slot:
    """One child that waits or runs; `leave` when it has ended or is no longer needed."""

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
        """Free the slot for another child; a second call does nothing."""
        if not self.is_over:
            self.is_over = True
            self._slots.left(self, self._address)


class ChildSlots:
    """At most `limit` children at a time, `per_address` of one address (0: no such limit).

    A new limit applies from the next child on.
    """

    __slots__ = ("_running", "_waiting", "limit", "per_address")

    def __init__(self, limit: int, per_address: int = 0) -> None:
        self.limit = limit
        self.per_address = per_address
        self._running: Counter[bytes] = Counter()
        # Addresses in the order of their turns.
        self._waiting: dict[bytes, deque[Slot]] = {}

    @property
    def waiting(self) -> int:
        """The number of waiting children."""
        return sum(map(len, self._waiting.values()))

    def enter(self, address: bytes, start: Callable[[], None]) -> Slot:
        """Start a child of this address with `start`: now, or when its turn comes."""
        slot = Slot(self, address, start)
        if self._has_room(address):
            self._running[address] += 1
            slot.begin()
        else:
            self._waiting.setdefault(address, deque()).append(slot)
        return slot

    def left(self, slot: Slot, address: bytes) -> None:
        """Record that a slot was left; called by the slot."""
        if not slot.has_begun:
            queue = self._waiting[address]
            queue.remove(slot)
            if not queue:
                del self._waiting[address]
            return
        self._running[address] -= 1
        if not self._running[address]:
            del self._running[address]
        turn = next(filter(self._has_room, self._waiting), None)
        if turn is not None:
            queue = self._waiting.pop(turn)
            following = queue.popleft()
            if queue:
                self._waiting[turn] = queue
            self._running[turn] += 1
            following.begin()

    def _has_room(self, address: bytes) -> bool:
        if self.per_address and self._running[address] >= self.per_address:
            return False
        return self._running.total() < self.limit
