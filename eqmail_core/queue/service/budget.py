"""Shares of a limited resource among submitting clients: memory, or descriptors.

Ordinary users together get half of it, one of them a quarter; the rest is reserved for the mail accounts, which may
take all.

Fails: never.
"""

from collections import Counter


class SubmitterBudget:
    """A limited number of units, shared among users.

    `capacity`: all units; `accounts`: uids of the mail accounts; `per_user` bounds one ordinary user further (0: not).
    """

    def __init__(self, capacity: int, accounts: set[int], per_user: int = 0) -> None:
        self._capacity = capacity
        self._accounts = accounts
        self._limit_of_one = min(per_user or capacity, capacity // 4)
        self._taken: Counter[int] = Counter()
        self._ordinary = self._total = 0

    @property
    def total(self) -> int:
        """Count the units taken."""
        return self._total

    def take(self, uid: int, units: int) -> bool:
        """Take `units`; False, and nothing taken, if that exceeds a limit."""
        is_ordinary = uid not in self._accounts
        if self._total + units > self._capacity:
            return False
        if is_ordinary:
            if self._taken[uid] + units > self._limit_of_one or self._ordinary + units > self._capacity // 2:
                return False
            self._ordinary += units
        self._taken[uid] += units
        self._total += units
        return True

    def give_back(self, uid: int, units: int) -> None:
        """Return units that were taken."""
        self._total -= units
        if uid not in self._accounts:
            self._ordinary -= units
        self._taken[uid] -= units
        if not self._taken[uid]:
            del self._taken[uid]
