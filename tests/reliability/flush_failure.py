"""A flush, a write or a renaming fails or is slow, and then comes a crash: nothing acknowledged is lost."""

import errno
import random
import signal
import time
from pathlib import Path

from tests.reliability.failing_calls import FailingCalls, Fault
from tests.reliability.installation import installed, kill
from tests.reliability.load import Load, Sent
from tests.reliability.outcome import outcome
from tests.reliability.report import Report, Row
from tests.reliability.sink import MIXED, Sink
from tests.support.mail_system import free_port

HIT_S = 10
DELIVERING = ("qmail-carrier", "qmail-local")
SEND_METHODS = ("kept", "kept", "each", "queue")

FAULTS = (
    Fault(("qmail-clean",), "fdatasync", path="/journal/"),
    Fault(("qmail-clean",), "fdatasync", errno.ENOSPC, path="/journal/"),
    Fault(("qmail-clean",), "pwritev", path="/journal/"),
    Fault(("qmail-clean",), "pwritev", errno.ENOSPC, once=False, path="/journal/"),
    Fault(("qmail-clean",), "fsync", path="/queue/"),
    Fault(("qmail-clean",), "link", path="/queue/"),
    Fault(("qmail-send",), "fsync", path="/queue/"),
    Fault(("qmail-send",), "rename", path="/queue/"),
    Fault(DELIVERING, "fsync"),
    Fault(DELIVERING, "syncfs"),
    Fault(DELIVERING, "rename"),
)
SLOW = (
    Fault(("qmail-clean",), "fdatasync", 0, 700, once=False),
    Fault(("qmail-clean", "qmail-send"), "fsync", 0, 1500, once=False),
    Fault(DELIVERING, "syncfs", 0, 1500, once=False),
    Fault(DELIVERING, "fsync", 0, 1500, once=False),
)


def run(folder: Path, seed: int, times: int, faults: tuple[Fault, ...] = FAULTS, part: str = "flush failure") -> Report:
    """Let a call fail under load, crash a moment later, start again: so often in all, the faults taking turns."""
    calls = FailingCalls(folder / "calls")
    report = Report(part, seed)
    share, rest = divmod(times, len(faults))
    with Sink(free_port(), seed) as sink, installed(folder / "flush", sink.port) as installation:
        installation.environ = calls.environ
        for place, fault in enumerate(faults):
            rng = random.Random(f"{seed} {fault}")
            before, sent = calls.hits(), list[Sent]()
            crashes = share + (place < rest)
            for count in range(crashes):
                sink.mode = MIXED
                load = Load(installation.home, installation.port, seed, f"f{place}.{count}.", SEND_METHODS, 0.03)
                installation.start()
                with load:
                    time.sleep(rng.uniform(0.2, 1.0))
                    _let_fail(calls, fault)
                    # Half of the time all that comes now stays in the journal alone.
                    for pid in installation.named("qmail-send") if rng.random() < 0.5 else ():
                        kill(pid, signal.SIGSTOP)
                    time.sleep(rng.choice([0.2, 1.0, 3.0]))
                    installation.kill_all()
                calls.disarm(fault)
                sent += load.sent
            if not crashes:
                continue
            findings = outcome(installation, sink, sent)
            hits = calls.hits() - before
            if not hits:
                findings.troubles.append("the fault was never hit")
            report.rows.append(Row(str(fault), findings, {"crashes": crashes, "hits": hits}))
            installation.empty_boxes()
            sink.deliveries = []
    return report


def _let_fail(calls: FailingCalls, fault: Fault) -> None:
    """Arm, and wait until it has failed."""
    before = calls.hits()
    calls.arm(fault)
    deadline = time.monotonic() + HIT_S
    while calls.hits() == before and time.monotonic() < deadline:
        time.sleep(0.01)
