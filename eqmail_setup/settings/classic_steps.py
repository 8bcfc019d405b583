"""Steps of the classic configuration programs: what C says, each line with what is then done.

They are performed as one run, so that it is on record and can be taken back.
"""

import os
from collections.abc import Callable, Iterable

from eqmail_core.site.site import Site
from eqmail_setup.transaction.filesystem import World
from eqmail_setup.transaction.operations import Action
from eqmail_setup.transaction.plan import Difference
from eqmail_setup.transaction.transaction import undertaking

Step = tuple[str, Action | None]
"""A line, "" for none, and an action, None for none."""


def needed(site: Site, steps: Iterable[Step]) -> list[Difference]:
    """What has to be done, for the engine."""
    return [Difference(site.control, "other", "written", action) for _, action in steps if action]


def take(site: Site, command: str, plan: Callable[[World], list[Step]], say: Callable[[str], None]) -> int:
    """Say and do every step, as one run of `command`; 0.

    Fails: Refusal, OSError; then everything is as before.
    """
    with undertaking(site.home, command) as run:
        steps = plan(run.world)
        for line, _ in steps:
            if line:
                say(line)
        run.perform(needed(site, steps), lambda action: None)
    return os.EX_OK
