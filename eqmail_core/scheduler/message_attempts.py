"""Changes of the attempts at one message that somebody asks for: try now, hold, suspend, remove.

Running deliveries go on; attempts are closed as usual when the last of them ends.

Fails: never.
"""

from collections.abc import Callable, Iterable

from eqmail_core.queue.format.channels import HELD_UNTIL
from eqmail_core.scheduler.channel import ChannelState
from eqmail_core.scheduler.ports import Job
from eqmail_core.scheduler.results import ResultHandler


class MessageAttempts:
    """The waiting and running attempts of all channels; `now()` is the scheduler's time."""

    def __init__(self, channels: Iterable[ChannelState], results: ResultHandler, now: Callable[[], int]) -> None:
        self._channels = tuple(channels)
        self._results = results
        self._now = now

    def suspend(self, number: int) -> list[Job]:
        """Start no more deliveries of a message for now.

        Returns the attempts that running deliveries keep open.
        """
        for channel in self._channels:
            for job in channel.suspend(number):
                self._results.release(job)
        return [channel.open[number] for channel in self._channels if number in channel.open]

    def retry(self, number: int) -> None:
        """Make a message on the disk due now, also one that is held."""
        now = self._now()
        for channel in self._channels:
            channel.due.move(number, now)
            job = channel.open.get(number)
            if job is not None and job.retry >= HELD_UNTIL:
                job.retry = now

    def hold(self, number: int) -> list[Job]:
        """Hold the running attempts at a message on the disk, as `suspend` does."""
        for channel in self._channels:
            job = channel.open.get(number)
            if job is not None:
                job.retry = HELD_UNTIL
        return self.suspend(number)

    def move_due(self, number: int, due: int) -> None:
        """Give the waiting attempts at a message on the disk another due time."""
        for channel in self._channels:
            channel.due.move(number, due)

    def remove(self, number: int) -> list[Job]:
        """Start no more attempts at a message that leaves the queue; returns as `suspend`."""
        still_open = self.suspend(number)
        # A suspended attempt that closed is waiting again.
        for channel in self._channels:
            channel.due.remove(number)
        return still_open
