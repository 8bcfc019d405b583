"""What import and export have in common: one carries from another qmail to here, the other back.

Fails: Refusal, OSError.
"""

import os
from collections.abc import Iterator
from typing import NamedTuple

from eqmail_core.site.site import Site
from eqmail_setup.errors import usage_error
from eqmail_setup.installation.staging import final_site
from eqmail_setup.migration.copy_files import RUNS, CopyContext, plan_copy
from eqmail_setup.migration.copy_queue import plan_queue_transfer
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.plan import Change


class MigrationOptions(NamedTuple):
    """What is copied, and how: originals of messages may go, the queue may stay, edits may be replaced."""

    move: bool
    no_queue: bool
    replace: bool


def require_other_home(home: str, other: str, remedy: str) -> None:
    """Refuse to carry a home into itself.

    Fails: Refusal (wrong usage).
    """
    if os.path.realpath(home) == os.path.realpath(other):
        raise usage_error(f"{home}: is the home that this command works on; {remedy}")


def programs_among(differences: list[Change]) -> list[str]:
    """The lines about aliases that run programs."""
    return [item.line() for item in differences if item.found.startswith(RUNS)]


def plan_migration(
    books: str, source: Site, target: Site, base: str, load: MigrationOptions, filesystem: Filesystem
) -> Iterator[Change]:
    """Actions after which the target has what the source has; `books` is the home with the list of copied messages."""
    yield from plan_copy(CopyContext(source, final_site(target), base, load.replace), filesystem)
    if not load.no_queue:
        yield from plan_queue_transfer(books, source, target, load.move)
