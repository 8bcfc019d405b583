"""The time limit of a part: a report on every process and all waiting mail, and a failed run."""

import contextlib
import faulthandler
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.reliability.installation import KEEP, Failed, Installation
from tests.support.database import Cluster

OVERDUE = 3
"""Exit code of a run that took too long."""

_LOG_BYTES = 4000
_SPY_S = 20


@contextmanager
def deadline(seconds: float, folder: Path) -> Iterator[None]:
    """End this process when the block lasts longer; `folder`, the workspace, is removed then."""
    timer = threading.Timer(seconds, _give_up, (seconds, folder))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _give_up(seconds: float, folder: Path) -> None:
    try:
        print(f"not done in {seconds:g} s. This process:", file=sys.stderr, flush=True)
        faulthandler.dump_traceback(file=sys.stderr)
        for installation in list(Installation.all):
            if installation.home.exists():
                print(describe(installation), file=sys.stderr, flush=True)
        Installation.is_over = True
        for installation in list(Installation.all):
            with contextlib.suppress(Failed):
                installation.kill_all()
        for cluster in list(Cluster.all):
            cluster.kill()
        if KEEP not in os.environ:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os._exit(OVERDUE)


def describe(installation: Installation) -> str:
    """What every process of an installation does, what waits in its queue, and the end of its log."""
    processes = [_describe_process(pid, name) for pid, name in installation.processes().items()]
    return "\n".join(
        [
            f"== {installation.home}",
            *processes,
            "-- queue",
            installation.queued(),
            "-- log",
            installation.log()[-_LOG_BYTES:],
        ]
    )


def _describe_process(pid: int, name: str) -> str:
    """Where each thread waits in the kernel; with py-spy on the path, also in Python."""
    lines = [f"-- {name} {pid}"]
    for task in sorted(Path(f"/proc/{pid}/task").glob("*")):
        facts = {fact: _read(task / fact) for fact in ("wchan", "syscall", "stack")}
        lines.append(f"thread {task.name}: {facts['wchan']}; {facts['syscall']}\n{facts['stack']}")
    spy = shutil.which("py-spy")
    if spy:
        with contextlib.suppress(subprocess.TimeoutExpired):
            command = [spy, "dump", "--pid", str(pid)]
            lines.append(subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SPY_S).stdout)
    return "\n".join(lines)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        return str(error.strerror)
