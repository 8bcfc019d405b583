"""A disk without space or inodes, or one that the kernel has made read-only after an error, under load.

While the disk is full the services run on, are killed and restarted, and get TERM; then there is space again.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.reliability.installation import COMMAND_S, STOP_S, Installation, installed
from tests.reliability.load import ACKNOWLEDGED, Load, Sent
from tests.reliability.mounts import make_image, memory_folder, mounted
from tests.reliability.outcome import outcome
from tests.reliability.report import Report, Row
from tests.reliability.sink import MIXED, Sink
from tests.support.mail_system import free_port

SEND_METHODS = ("kept", "each", "inject", "queue")
FULL_S, FREE_S = 3.0, 3.0
SIZE_MB, INODES = 400, 20_000
"""Enough for all mail of a run: only what is put there on purpose fills the disk."""

_CHECKED = (0, 1)
"""Exit codes of e2fsck: no errors, or all errors corrected."""


@contextmanager
def no_space(disk: Path) -> Iterator[None]:
    """Until the end there is no free block."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue
    yield
    filler.unlink()


@contextmanager
def no_inodes(disk: Path) -> Iterator[None]:
    """Until the end no file can be made."""
    folder, made = disk / "fillers", list[Path]()
    folder.mkdir(exist_ok=True)
    try:
        while True:
            path = folder / str(len(made))
            path.touch()
            made.append(path)
    except OSError:
        pass
    yield
    for path in made:
        path.unlink()


KINDS: dict[str, tuple[int, tuple[str, ...], Callable[[Path], AbstractContextManager[None]]]] = {
    "space": (SIZE_MB, ("-m", "0"), no_space),
    "inodes": (SIZE_MB, ("-N", str(INODES)), no_inodes),
}
"""Size in MB, options of mkfs.ext4, and what fills it."""


def run(folder: Path, seed: int, times: int) -> Report:
    """Fill the disk so many times in each way, and let it become read-only once."""
    report = Report("full", seed)
    with memory_folder(folder / "images") as images:
        for kind in KINDS:
            report.rows.append(_fill(kind, folder / "disk", images / kind, seed, times))
        report.rows.append(_make_read_only(folder / "disk", images / "read-only", seed))
    return report


def _fill(kind: str, disk: Path, image: Path, seed: int, times: int) -> Row:
    size_mb, options, full = KINDS[kind]
    make_image(image, "ext4", size_mb, *options)
    troubles, acknowledged = list[str](), 0
    with mounted(image, disk), Sink(free_port(), seed, MIXED) as sink, installed(disk, sink.port) as installation:
        installation.start()
        with Load(installation.home, installation.port, seed, ways=SEND_METHODS) as load:
            for _ in range(times):
                for happens in (_go_on, _crash, _terminate):
                    time.sleep(FREE_S)
                    with full(disk):
                        begin = time.monotonic()
                        troubles += happens(installation)
                        acknowledged += _acknowledged_since(load.sent, begin)
                    if not installation.is_up:
                        installation.start()
            time.sleep(FREE_S)
        findings = outcome(installation, sink, load.sent)
    findings.troubles += troubles
    return Row(kind, findings, {"times": 3 * times, "while full": acknowledged})


def _go_on(installation: Installation) -> list[str]:
    time.sleep(FULL_S)
    return []


def _crash(installation: Installation) -> list[str]:
    installation.kill_all()
    installation.begin()
    return _go_on(installation)


def _terminate(installation: Installation) -> list[str]:
    _go_on(installation)
    if not installation.is_up:
        return []
    return [f"TERM on a full disk did not end it in {STOP_S:g} s"] if installation.stop() is None else []


def _make_read_only(disk: Path, image: Path, seed: int) -> Row:
    make_image(image, "ext4", SIZE_MB)
    with Sink(free_port(), seed, MIXED) as sink:
        with (
            mounted(image, disk, "loop,errors=remount-ro"),
            installed(disk, sink.port) as installation,
        ):
            installation.start()
            with Load(installation.home, installation.port, seed, ways=SEND_METHODS) as load:
                time.sleep(FREE_S)
                device = _device(disk)
                Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("1")
                begin = time.monotonic()
                time.sleep(FULL_S)
                acknowledged = _acknowledged_since(load.sent, begin + 0.5)
                code = installation.stop()
        command = ["e2fsck", "-fy", image]
        repaired = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMMAND_S)
        with mounted(image, disk):
            installation = Installation(disk, sink.port)
            try:
                findings = outcome(installation, sink, load.sent)
            finally:
                installation.kill_all()
    if code is None:
        findings.troubles.append(f"TERM on a read-only disk did not end it in {STOP_S:g} s")
    if repaired.returncode not in _CHECKED:
        findings.troubles.append(f"e2fsck: {repaired.stdout}{repaired.stderr}")
    return Row("read-only", findings, {"times": 1, "while full": acknowledged})


def _device(disk: Path) -> str:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        device, place, *_ = line.split()
        if place == str(disk):
            return device.rpartition("/")[2]
    raise LookupError(f"nothing is mounted at {disk}")


def _acknowledged_since(sent: list[Sent], begin: float) -> int:
    return sum(item.verdict == ACKNOWLEDGED and item.time > begin for item in sent)
