"""Steps of the classic configuration programs: the output of C, each line with its action.

They are performed as one run, so that it is on record and can be taken back.
"""

import os
from collections.abc import Callable, Iterable

from eqmail_core.site.site import Site
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.operations import Operation
from eqmail_setup.transaction.plan import Change
from eqmail_setup.transaction.transaction import begin_transaction

ClassicStep = tuple[str, Operation | None]
"""A line, "" for none, and an action, None for none."""


def steps_to_run(site: Site, steps: Iterable[ClassicStep]) -> list[Change]:
    """The actions for the engine."""
    return [Change(site.control, "other", "written", action) for _, action in steps if action]


def run_steps(
    site: Site, command: str, plan: Callable[[Filesystem], list[ClassicStep]], write_line: Callable[[str], None]
) -> int:
    """Say and do every step, as one run of `command`; 0.

    Fails: Refusal, OSError; then everything is as before.
    """
    with begin_transaction(site.home, command) as run:
        steps = plan(run.filesystem)
        for line, _ in steps:
            if line:
                write_line(line)
        run.apply(steps_to_run(site, steps), lambda action: None)
    return os.EX_OK
