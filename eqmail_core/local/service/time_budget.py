"""Limits how long one user may delay the others, in a process that delivers for all users.

Fails: never.
"""

import time
from collections.abc import Callable

from eqmail_core.users.user import User

BUDGET_S = 1.0
"""How long one user may delay the others in one batch, in seconds."""

SLOW_S = 600.0
"""How long a user who exceeded the budget gets an agent, in seconds."""

Account = tuple[int, int]
"""The ids of a user; several names, homes and extensions may share them."""


class TimeBudget:
    """The time that each user may use while others wait.

    Work for a user runs `with budget.of(user)`.
    """

    __slots__ = ("_account", "_clock", "_limit_s", "_since", "_slow", "_spent")

    def __init__(self, limit_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._slow: dict[Account, float] = {}
        self._spent: dict[Account, float] = {}
        self._account: Account = (-1, -1)
        self._since = 0.0

    def renew(self) -> None:
        """Give everyone the whole budget again, except users already known as slow."""
        self._spent = {}

    def of(self, user: User) -> "TimeBudget":
        """Select the user whose time is counted from now on."""
        self._account = user.uid, user.gid
        return self

    def __enter__(self) -> None:
        self._since = self._clock()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        now = self._clock()
        spent = self._spent[self._account] = self._spent.get(self._account, 0.0) + now - self._since
        if spent > self._limit_s:
            self._slow[self._account] = now + SLOW_S

    @property
    def is_spent(self) -> bool:
        """Tell whether the current user has no time left."""
        now = self._clock()
        spent = self._spent.get(self._account, 0.0) + now - self._since
        return spent > self._limit_s or self._slow.get(self._account, now) > now
