"""What import and export have in common: one carries from another qmail to here, the other back.

Fails: Refusal, OSError.
"""

import os
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, NamedTuple

import click

from eqmail_core.site.site import Site
from eqmail_setup.errors import usage_error
from eqmail_setup.installation.loading import final_site, stage_of
from eqmail_setup.migration.copy_files import RUNS, CopyContext, plan_copy
from eqmail_setup.migration.copy_queue import plan_queue_transfer
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.plan import Change
from eqmail_setup.transaction.transaction import staged_change_options


class MigrationOptions(NamedTuple):
    """What is carried, and how: originals of messages may go, the queue may stay, edits may be replaced."""

    move: bool
    no_queue: bool
    replace: bool


def migration_options(origin: str, goal: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command that carries from `origin` to `goal` its options; it gets them as `load` and `change`."""

    def decorated(function: Callable[..., int]) -> Callable[..., int]:
        @click.option("--move", is_flag=True, help=f"Remove the messages from {origin} once they are in {goal}.")
        @click.option("--no-queue", is_flag=True, help="Leave the queue alone.")
        @click.option("--replace", is_flag=True, help=f"Also where a file in {goal} differs from that in {origin}.")
        @staged_change_options
        @wraps(function)
        def with_load(*words: Any, move: bool, no_queue: bool, replace: bool, **options: Any) -> int:
            if move and stage_of(click.get_current_context()):
                raise usage_error("--move and --root exclude each other: what is staged is a copy")
            return function(*words, load=MigrationOptions(move, no_queue, replace), **options)

        return with_load

    return decorated


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
