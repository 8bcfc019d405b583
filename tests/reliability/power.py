"""Power cuts below the page cache: what a disk may hold when it lost power at any moment of a recorded run.

A run under load is recorded below the file system (recorded_disk.py).  For each cut an image is made: all writes
before the last flush that was complete by then, and of the later ones none, all, or some, perhaps in torn sectors.
On each image the services start, everything that waits is delivered, and what was acknowledged before the cut has
to be there.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.reliability.checker import MBOX, Findings, read_mail
from tests.reliability.installation import KEEP, Failed, Installation, installed, kill
from tests.reliability.load import UNKNOWN, Load, Sent
from tests.reliability.mounts import copy_image, make_image, memory_folder, mounted, unmount
from tests.reliability.outcome import outcome
from tests.reliability.recorded_disk import FLUSH, WRITE, Entry, read_record
from tests.reliability.report import Report, Row
from tests.reliability.sink import MIXED, Delivery, Sink
from tests.support.mail_system import free_port

ROOT = Path(__file__).resolve().parents[2]
IMAGE_MB = 400
SECTOR = 512
DRAIN_S = 300

LATER = {"none": 0.0, "all": 1.0, "half": 0.5, "some": 0.15, "torn": 0.6}
"""How many of the writes after the last flush reach the disk; with "torn" each sector is on its own."""


class Recording(NamedTuple):
    """What was offered and what had arrived in a recorded run."""

    sent: list[Sent]
    deliveries: list[Delivery]

    def until(self, moment: float) -> "Recording":
        """The same as of a moment; later events are unknown."""
        return Recording(
            [item if item.time <= moment else item._replace(verdict=UNKNOWN) for item in self.sent],
            [delivery for delivery in self.deliveries if delivery.time <= moment],
        )


class Disk:
    """The state of a recorded disk, which moves forward from cut to cut."""

    def __init__(self, image: Path, record: Path) -> None:
        self._image = image
        self._entries = list(read_record(record))
        self._record = open(record, "rb")  # noqa: SIM115
        self._done = 0

    def moments(self, first: float, last: float, count: int, rng: random.Random) -> list[float]:
        """When to cut: every other moment is just after a write, when there is something to lose."""
        writes = [entry.time for entry in self._entries if entry.kind == WRITE and first < entry.time < last]
        return sorted(rng.choice(writes) if place % 2 else rng.uniform(first, last) for place in range(count))

    def cut(self, moment: float, later: str, rng: random.Random, target: Path) -> int:
        """Write the image of a cut to `target`; the number of writes whose fate was open.  Moments only grow."""
        flushed, end = self._done, self._done
        while end < len(self._entries) and self._entries[end].time <= moment:
            end += 1
            if self._entries[end - 1].kind == FLUSH:
                flushed = end
        with open(self._image, "r+b", buffering=0) as file:
            for entry in self._entries[self._done : flushed]:
                self._apply(entry, file.fileno())
        self._done = flushed
        copy_image(self._image, target)
        with open(target, "r+b", buffering=0) as file:
            for entry in self._entries[flushed:end]:
                self._perhaps(entry, file.fileno(), later, rng)
        return end - flushed

    def _apply(self, entry: Entry, fd: int) -> None:
        if entry.kind == WRITE:
            os.pwrite(fd, self._bytes(entry), entry.offset)

    def _perhaps(self, entry: Entry, fd: int, later: str, rng: random.Random) -> None:
        if later != "torn":
            if rng.random() < LATER[later]:
                self._apply(entry, fd)
        elif entry.kind == WRITE:
            data = self._bytes(entry)
            for start in range(0, len(data), SECTOR):
                if rng.random() < LATER[later]:
                    os.pwrite(fd, data[start : start + SECTOR], entry.offset + start)

    def _bytes(self, entry: Entry) -> bytes:
        self._record.seek(entry.place)
        return self._record.read(entry.length)


@contextmanager
def recorded(image: Path, record: Path, file: Path) -> Iterator[Path]:
    """`image` as `file`, with all writes and flushes recorded."""
    file.touch()
    command = [sys.executable, "-m", "tests.reliability.recorded_disk", str(image), str(record), str(file)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        if server.stdout.readline() != b"ready\n":
            raise Failed("the recorded disk does not start")
        try:
            yield file
        finally:
            unmount(file)
            try:
                server.wait(60)
            except subprocess.TimeoutExpired:
                server.kill()


def cut_power(folder: Path, seed: int, kind: str, cuts: int, seconds: float) -> Report:
    """Record a run of so many seconds on a file system of this kind; cut the power so often, and look each time."""
    with memory_folder(folder / "images") as images:
        base = make_image(images / "base", kind, IMAGE_MB)
        port = free_port()
        disk = folder / "disk"
        with mounted(base, disk), installed(disk, port):
            pass
        copy_image(base, images / "recorded")
        with recorded(images / "recorded", images / "record", folder / "device") as device, mounted(device, disk):
            ran = _run(Installation(disk, port), seed, seconds)
        (images / "recorded").unlink()
        rows = _cuts(folder, images, Disk(base, images / "record"), port, ran, seed, cuts)
    return Report(f"power, {kind}", seed, rows)


def _run(installation: Installation, seed: int, seconds: float) -> Recording:
    """The run that is recorded: load, and sometimes a kill, a stop or a retry."""
    rng = random.Random(f"{seed} run")
    with Sink(installation.sink_port, seed, MIXED) as sink:
        try:
            installation.start()
            load = Load(installation.home, installation.port, seed, pause_s=0.03)
            with load:
                deadline = time.monotonic() + seconds
                while time.monotonic() < deadline:
                    time.sleep(min(rng.uniform(2, 5), max(0.1, deadline - time.monotonic())))
                    _disturb(installation, rng)
        finally:
            installation.kill_all()
        return Recording(load.sent, list(sink.deliveries))


def _disturb(installation: Installation, rng: random.Random) -> None:
    what = rng.choices(["kill all", "stop", "kill one", "retry"], [2, 2, 3, 3])[0]
    if what == "retry":
        installation.signal(signal.SIGALRM)
    elif what == "kill one":
        kill(rng.choice(installation.named("qmail-clean", "qmail-send") or [installation.pid]))
    elif what == "stop":
        installation.stop()
    else:
        installation.kill_all()
    if not installation.is_up:
        installation.start()


def _cuts(folder: Path, images: Path, disk: Disk, port: int, ran: Recording, seed: int, cuts: int) -> list[Row]:
    rng = random.Random(f"{seed} cuts")
    times = sorted(item.time for item in ran.sent)
    rows = {later: Row(later, Findings()) for later in LATER}
    kinds = (list(LATER) * cuts)[:cuts]
    rng.shuffle(kinds)
    with Sink(port, seed) as sink:
        for place, (moment, later) in enumerate(zip(disk.moments(times[0], times[-1], cuts, rng), kinds, strict=True)):
            open_writes = disk.cut(moment, later, rng, images / "cut")
            before = ran.until(moment)
            sink.deliveries = before.deliveries
            try:
                found = _look(folder / "disk", images / "cut", sink, before.sent)
            except Failed as failure:
                found = Findings(troubles=[str(failure)])
            if not found.passed and KEEP in os.environ:
                copy_image(images / "cut", folder / f"cut{place}")
            for name in Findings.WRONG:
                setattr(found, name, [f"cut {place}: {item}" for item in getattr(found, name)])
            rows[later].add(Row(later, found, {"cuts": 1, "open writes": open_writes}))
    return [row for row in rows.values() if row.figures]


def _look(folder: Path, image: Path, sink: Sink, sent: list[Sent]) -> Findings:
    """Start on the image of a cut, let everything arrive, stop, and judge."""
    with mounted(image, folder):
        installation = Installation(folder, sink.port)
        torn = [what for what in read_mail(installation.people).torn if not what.startswith(MBOX)]
        try:
            installation.start()
            found = outcome(installation, sink, sent, DRAIN_S)
        finally:
            installation.kill_all()
    found.torn += [f"before the start: {what}" for what in torn]
    return found
