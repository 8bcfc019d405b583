"""The time until which a node may act on its messages, by its own clock.

The database grants a lease of LEASE_S from the receipt of a heartbeat.  The node counts from the moment at
which it sent the beat, and stops MARGIN_S earlier.  So a node that was stopped, or lost the database, is never active
when another takes its messages over.  Times are of CLOCK_BOOTTIME, which goes on while the machine sleeps.

Fails: never.
"""

BEAT_S = 2.0
LEASE_S = 10.0
MARGIN_S = 2.0


class Lease:
    """The lease of this node.  `clock`: seconds of a clock that never goes back and never stops."""

    def __init__(self) -> None:
        self.epoch = 0
        self._until = float("-inf")

    def is_valid(self, now: float) -> bool:
        """Whether this node may act at `now`."""
        return now < self._until

    @property
    def until(self) -> float:
        """The moment at which it ends."""
        return self._until

    def granted(self, epoch: int, sent: float) -> None:
        """Record that the database received the heartbeat sent at `sent`."""
        if epoch != self.epoch:
            self.epoch, self._until = epoch, float("-inf")
        self._until = max(self._until, sent + LEASE_S - MARGIN_S)

    def lost(self) -> None:
        """Note that another node took the messages over."""
        self._until = float("-inf")
