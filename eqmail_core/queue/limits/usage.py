"""How much each submitter has used of its limits.

One number for each limit: the time at which the submitter will have used nothing of it. A message moves that time on
by its share of the period; it is over the limit if the time would then be further away than the burst allows. So a
submitter that does nothing needs no entry, and its entry may be forgotten once all its times have passed.

At most `capacity` submitters are known; for a further one, the one that was silent longest is forgotten.

Fails: never.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from eqmail_core.control.submission_limits import RECIPIENTS, Bucket, Limits, LimitTable
from eqmail_core.dsn.xtext import decode_xtext

CAPACITY = 100_000
"""Submitters that are known at a time."""

MAX_FILE_BYTES = 64 << 20
"""Longest file of usage that is read, in bytes."""


class Subject(NamedTuple):
    """A submitter: its kind, and its name in xtext."""

    kind: bytes
    name: bytes


class Excess(NamedTuple):
    """What is over a limit: whose, which one, and whether postmaster is to be told."""

    subject: Subject
    bucket: Bucket
    refuses: bool
    is_new: bool

    @property
    def reason(self) -> bytes:
        """The submitter and the limit, for people."""
        kind, name = self.subject
        return b"%b %b is over %b" % (kind, decode_xtext(name), self.bucket.text)


class SubmitterUsage:
    """The use of one submitter.

    `free_at`: by limit, when nothing of it is used; `told_until`: when postmaster may be told again; `over`: messages
    that were over a limit since postmaster was told.
    """

    __slots__ = ("free_at", "generation", "limits", "over", "subject", "told_until")

    def __init__(self, subject: Subject, limits: Limits, generation: int) -> None:
        self.subject = subject
        self.limits = limits
        self.generation = generation
        self.free_at = [0.0] * len(limits.buckets)
        self.told_until = 0.0
        self.over = 0


class UsageTable:
    """The use of all submitters; times are seconds of any clock that never goes back."""

    def __init__(self, table: LimitTable, capacity: int = CAPACITY) -> None:
        self._table = table
        self._capacity = capacity
        self._generation = 0
        self._usage: OrderedDict[Subject, SubmitterUsage] = OrderedDict()
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._usage)

    def replace_limits(self, table: LimitTable) -> None:
        """Use new limits; what was used of a limit that stays is kept."""
        self._table = table
        self._generation += 1

    def spend(self, subjects: Iterable[Subject], recipients: int, now: float) -> Excess | None:
        """Count a message of these submitters; return what it is over, or None.

        A message over a limit counts for none.
        """
        spent: list[tuple[SubmitterUsage, list[float]]] = []
        for subject in subjects:
            usage = self._usage_of(subject)
            if usage is None:
                continue
            times = []
            for bucket, free_at in zip(usage.limits.buckets, usage.free_at, strict=True):
                units = recipients if bucket.of == RECIPIENTS else 1
                after = (free_at if free_at > now else now) + units * bucket.period_s / bucket.count
                if after - now > bucket.burst * bucket.period_s / bucket.count + 0.001:
                    return self._exceed(subject, usage, bucket, now)
                times.append(after)
            spent.append((usage, times))
        for usage, times in spent:
            usage.free_at = times
        return None

    def _exceed(self, subject: Subject, usage: SubmitterUsage, bucket: Bucket, now: float) -> Excess:
        is_new = now >= usage.told_until
        if is_new:
            usage.told_until = now + bucket.period_s
            usage.over = 0
        usage.over += 1
        return Excess(subject, bucket, usage.limits.refuses, is_new)

    def _usage_of(self, subject: Subject) -> SubmitterUsage | None:
        """Return the entry of a submitter, as the one used last; None for one without limits."""
        usage = self._usage.pop(subject, None)
        if usage is None or usage.generation != self._generation:
            limits = self._table.limits_of(subject.kind, decode_xtext(subject.name))
            if not limits.buckets:
                return None
            usage = _renewed(subject, usage, limits, self._generation)
            if len(self._usage) >= self._capacity:
                self._usage.popitem(last=False)
                self.forgotten += 1
        self._usage[subject] = usage
        return usage

    def snapshot(self) -> list[SubmitterUsage]:
        """Return all entries, for `render_usage` in another thread: an entry's times are replaced together."""
        return list(self._usage.values())

    def load(self, lines: "Iterable[StoredUsage]", now: float, offset_s: float) -> None:
        """Take over stored entries; `offset_s` makes the times of the file those of the clock.

        A time that no use can explain, after the clock of the host was set back, counts as all used.
        """
        for stored in lines:
            usage = self._usage_of(stored.subject)
            if usage is None:
                continue
            for index, bucket in enumerate(usage.limits.buckets):
                latest = now + bucket.burst * bucket.period_s / bucket.count
                usage.free_at[index] = min(stored.free_at.get(bucket.text, 0.0) + offset_s, latest)
                usage.told_until = min(stored.told_until + offset_s, max(usage.told_until, now + bucket.period_s))
            usage.over = stored.over


def _renewed(subject: Subject, usage: SubmitterUsage | None, limits: Limits, generation: int) -> SubmitterUsage:
    """Return an entry for changed limits, or a new one."""
    renewed = SubmitterUsage(subject, limits, generation)
    if usage is not None:
        known = {bucket.text: time for bucket, time in zip(usage.limits.buckets, usage.free_at, strict=True)}
        renewed.free_at = [known.get(bucket.text, 0.0) for bucket in limits.buckets]
        renewed.told_until, renewed.over = usage.told_until, usage.over
    return renewed


class StoredUsage(NamedTuple):
    """The use of one submitter as the file has it; times are seconds since the epoch."""

    subject: Subject
    free_at: dict[bytes, float]
    told_until: float
    over: int


def render_usage(entries: Iterable[SubmitterUsage], now: float, offset_s: float) -> Iterator[bytes]:
    """Render a line for each submitter that has used something.

    A line is KIND NAME TOLD OVER, then LIMIT@TIME for each limit. `offset_s` turns times of the clock into those of
    the file.
    """
    for usage in entries:
        kind, name = usage.subject
        free_at = usage.free_at
        if max(*free_at, usage.told_until) <= now:
            continue
        used = [
            b"%b@%.3f" % (bucket.text, time + offset_s)
            for bucket, time in zip(usage.limits.buckets, free_at, strict=True)
            if time > now
        ]
        told = usage.told_until + offset_s if usage.told_until > now else 0.0
        yield b" ".join((kind, name, b"%.3f" % told, b"%d" % usage.over, *used)) + b"\n"


def parse_usage(text: bytes) -> tuple[list[StoredUsage], int]:
    """Read a file of usage; the second value counts the lines that are damaged."""
    found, damaged = [], 0
    lines = text.split(b"\n")
    for line in lines[:-1]:
        try:
            kind, name, told, over, *used = line.split(b" ")
            pairs = [word.rpartition(b"@") for word in used]
            free_at = {bucket: _time(time) for bucket, _, time in pairs}
            found.append(StoredUsage(Subject(kind, name), free_at, _time(told), int(over)))
        except ValueError:
            damaged += 1
    return found, damaged + bool(lines[-1])


def _time(text: bytes) -> float:
    time = float(text)
    if not 0 <= time < 1e12:
        raise ValueError(text)
    return time
