"""The end of a run: everything that waits arrives, the services stop, and what became of the mail is judged.

A crash may leave bodies without a message (states S2 and S3 of docs/INTERNALS.md), which every qmail removes when they
are 36 hours old.  So what is left is made older, and the services are given another chance; they have to take it.
"""

import os
import time
from collections.abc import Iterable

from tests.reliability.checker import Findings, judge, leftovers, read_mail
from tests.reliability.installation import Installation
from tests.reliability.load import Sent
from tests.reliability.sink import ACCEPT, Sink

DRAIN_S = 300.0
SWEPT_AGE_S = 40 * 3600
SWEEP_S = 60.0
SWEPT = ("mess/", "intd/", "pid/")


def outcome(installation: Installation, sink: Sink, sent: Iterable[Sent], drain_s: float = DRAIN_S) -> Findings:
    """Let everything arrive at a sink that accepts everything, stop, judge."""
    troubles = []
    sink.mode = ACCEPT
    if not installation.drain(drain_s):
        troubles.append(f"{installation.waiting()} messages still wait after {drain_s:g} s: {installation.queued()}")
    code = installation.stop()
    if code != 0:
        troubles.append("did not stop" if code is None else f"stopped with code {code}")
    left, swept = leftovers(installation.home), 0
    if any(path.startswith(SWEPT) for path in left) and not troubles:
        before, left = left, _sweep(installation, left)
        swept = len(before) - len(left)
    findings = judge(sent, read_mail(installation.people), list(sink.deliveries), left)
    findings.troubles += troubles
    findings.swept = swept
    return findings


def _sweep(installation: Installation, left: list[str]) -> list[str]:
    """Have old files removed; what is left then."""
    queue = installation.home / "queue"
    then = time.time() - SWEPT_AGE_S
    for path in left:
        if path.startswith(SWEPT):
            os.utime(queue / path, (then, then))
    installation.start()
    deadline = time.monotonic() + SWEEP_S
    while any((queue / path).exists() for path in left) and time.monotonic() < deadline:
        time.sleep(0.2)
    installation.stop()
    return leftovers(installation.home)
