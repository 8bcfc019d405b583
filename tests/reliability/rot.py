"""Bit rot in the queue's journal: the damage, the losses, and the log lines.

A damaged record may be lost, with a word in the log; what stands before and behind it may not.
"""

import random
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from eqmail_core.queue.format import journal
from eqmail_core.queue.format.journal_reading import read
from tests.reliability.checker import Findings
from tests.reliability.installation import Failed, Installation, installed, kill
from tests.reliability.load import ACKNOWLEDGED, END_S, ME, USER, Client, Sent
from tests.reliability.mounts import copy_image, make_image, memory_folder, mounted
from tests.reliability.outcome import outcome
from tests.reliability.report import Report, Row
from tests.reliability.sink import ACCEPT, Sink
from tests.support.mail_system import free_port, until

MESSAGES = 100
IMAGE_MB = 300
DRAIN_S = 300
_PAGE = 4096
_LENGTH_OF_BODY = 12
"""Offset of the body length in a record: see queue/format/journal.py."""

_SAID = re.compile(r"alert|warning|fatal")


class Used(NamedTuple):
    """A segment in use: its bytes, where each of its records begins, and the end of the last."""

    data: bytes
    starts: list[int]
    end: int


class Damage(NamedTuple):
    """What happens to the segment, and how many messages may be lost by it."""

    name: str
    do: Callable[[Used, random.Random], bytes]
    lost_at_most: int


def flip(data: bytes, offset: int, bits: int = 1) -> bytes:
    """The same bytes with some bits of one turned over."""
    return data[:offset] + bytes([data[offset] ^ bits]) + data[offset + 1 :]


def _in_record(place: int) -> Callable[[Used, random.Random], bytes]:
    def do(used: Used, rng: random.Random) -> bytes:
        start = used.starts[place]
        end = min(bound for bound in (*used.starts, used.end) if bound > start)
        return flip(used.data, rng.randrange(start + journal.OVERHEAD, end), 1 << rng.randrange(8))

    return do


def _in_head(offset: int) -> Callable[[Used, random.Random], bytes]:
    return lambda used, rng: flip(used.data, used.starts[len(used.starts) // 2] + offset, 1 << rng.randrange(8))


def _in_header(offset: int) -> Callable[[Used, random.Random], bytes]:
    return lambda used, rng: flip(used.data, offset, 1 << rng.randrange(8))


def _page_of_zeros(used: Used, rng: random.Random) -> bytes:
    start = used.end // 4 // _PAGE * _PAGE
    return used.data[:start] + bytes(_PAGE) + used.data[start + _PAGE :]


def _anywhere(used: Used, rng: random.Random) -> bytes:
    return flip(used.data, rng.randrange(journal.HEADER_SIZE, used.end), 1 << rng.randrange(8))


DAMAGES = (
    Damage("nothing", lambda used, _: used.data, 0),
    Damage("a bit of record 10", _in_record(10), 1),
    Damage("magic of the header", _in_header(2), 0),
    Damage("epoch of the header", _in_header(9), 0),
    Damage("a bit of the first record", _in_record(0), 1),
    Damage("a bit of the last record", _in_record(-1), 1),
    Damage("a length in the middle", _in_head(_LENGTH_OF_BODY), 1),
    Damage("a checksum in the middle", _in_head(0), 1),
    Damage("a bit anywhere", _anywhere, 1),
    Damage("a page of zeros", _page_of_zeros, 5),
    Damage("cut off in the middle", lambda used, _: used.data[: used.end // 2], MESSAGES),
    Damage("empty file", lambda _, __: b"", 2 * MESSAGES),
    Damage("a file of zeros", lambda used, _: bytes(len(used.data)), 2 * MESSAGES),
)


def run(folder: Path, seed: int, times: int, ways: int = len(DAMAGES)) -> Report:
    """Damage a full journal in the first `ways` ways, `times` times each, start, and check arrivals and log."""
    report = Report("rot", seed)
    rng = random.Random(seed)
    with memory_folder(folder / "images") as images, Sink(free_port(), seed, ACCEPT) as sink:
        base = make_image(images / "base", "ext4", IMAGE_MB)
        disk = folder / "disk"
        with mounted(base, disk), installed(disk, sink.port) as installation:
            sent = _fill(installation, seed)
        for damage in DAMAGES[:ways]:
            row = Row(damage.name, Findings(), {"times": 0, "may be lost": 0, "missing": 0, "said": 0})
            for _ in range(times):
                with mounted(copy_image(base, images / "damaged"), disk):
                    row.add(_look(Installation(disk, sink.port), sink, sent, damage, rng))
            report.rows.append(row)
    return report


def _fill(installation: Installation, seed: int) -> list[Sent]:
    """Messages that are acknowledged and stand in the journal alone."""
    installation.start()
    (scheduler,) = installation.named("qmail-send")
    kill(scheduler, signal.SIGSTOP)
    client = Client(installation.home, installation.port, "rot", "kept", seed, 0)
    client.recipients = lambda _identifier, _rng: (f"{USER}@{ME}",)
    client.start()
    until(lambda: sum(sent.verdict == ACKNOWLEDGED for sent in client.sent) >= MESSAGES, "messages", 120)
    client.stop()
    client.join(END_S)
    installation.kill_all()
    return client.sent


def _look(installation: Installation, sink: Sink, sent: list[Sent], damage: Damage, rng: random.Random) -> Row:
    path, used = _segment(installation.home / "queue/journal")
    with open(path, "r+b") as file:
        file.truncate(0)
        file.write(damage.do(used, rng))
    begin = installation.log_size()
    try:
        installation.start()
        findings = outcome(installation, sink, sent, DRAIN_S)
    except Failed as failure:
        findings = Findings(troubles=[str(failure)])
    finally:
        installation.kill_all()
    lines = [line for line in installation.log(begin).splitlines() if _SAID.search(line)]
    lost = len(findings.lost)
    if lost and not lines:
        findings.troubles.append(f"{lost} messages were lost without a word")
    elif lost <= damage.lost_at_most:
        findings.lost = []
    figures = {"times": 1, "may be lost": damage.lost_at_most, "missing": lost, "said": len(lines)}
    return Row(damage.name, findings, figures)


def _segment(folder: Path) -> tuple[Path, Used]:
    """The segment with most records."""

    def records(path: Path) -> list[int]:
        reading = read(memoryview(path.read_bytes()))
        starts, position = list[int](), journal.HEADER_SIZE
        for entry in reading.entries if reading else ():
            starts.append(position)
            position += journal.OVERHEAD + len(entry.envelope) + len(entry.body)
        return [*starts, position]

    path = max(folder.glob("segment.*"), key=lambda path: len(records(path)))
    *starts, end = records(path)
    return path, Used(path.read_bytes(), starts, end)
