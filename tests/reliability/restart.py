"""Stops and starts under load: clean ones leave plain qmail's queue and cause no copy; dirty ones lose nothing."""

import random
import time
from pathlib import Path

from eqmail_core.queue.admin.journal_status import live_messages
from tests.conftest import eqmail
from tests.reliability.installation import COMMAND_S, Installation, installed
from tests.reliability.load import Load
from tests.reliability.outcome import outcome
from tests.reliability.report import Report, Row
from tests.reliability.sink import MIXED, Sink
from tests.support.mail_system import free_port

OF_THE_SINK = {"broken off and delivered"}
"""Copies that no stop causes: the sink had the message, and disconnected before its reply."""


def run(folder: Path, seed: int, times: int) -> Report:
    """So many clean stops, and as many dirty ones."""
    report = Report("restart", seed)
    for kind in ("clean", "dirty"):
        rng = random.Random(f"{seed} {kind}")
        troubles: list[str] = []
        with Sink(free_port(), seed, MIXED) as sink, installed(folder / kind, sink.port) as installation:
            installation.start()
            with Load(installation.home, installation.port, seed) as load:
                for _ in range(times):
                    time.sleep(rng.uniform(0.5, 2.5))
                    if kind == "dirty":
                        installation.kill_all()
                    else:
                        troubles += _stop(installation)
                    installation.start()
            findings = outcome(installation, sink, load.sent)
        findings.troubles += troubles
        if kind == "clean" and (copies := set(findings.duplicates) - OF_THE_SINK):
            findings.troubles.append(f"copies after clean stops: {', '.join(sorted(copies))}")
        report.rows.append(Row(kind, findings, {"stops": times}))
    return report


def _stop(installation: Installation) -> list[str]:
    """TERM; what is wrong with the end or with the queue behind it."""
    if (code := installation.stop()) != 0:
        return ["did not stop" if code is None else f"stopped with code {code}"]
    if live := live_messages(str(installation.home / "queue/journal")):
        return [f"{live} messages in the journal after a clean stop"]
    checked = eqmail("--home", installation.home, "check", timeout=COMMAND_S)
    return [f"eqmail check: {checked.stdout}{checked.stderr}"] if checked.returncode else []
