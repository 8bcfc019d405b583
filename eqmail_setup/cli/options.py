"""Options that commands share, each spelled and explained in one place."""

import os
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NamedTuple

import click

from eqmail_setup.cli.context import STAGE, stage_of
from eqmail_setup.errors import usage_error
from eqmail_setup.migration.options import MigrationOptions

Decorator = Callable[[Callable[..., int]], Callable[..., int]]

json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
"""For every command that reports; it gets `as_json`."""

reload_option = click.option("--reload", is_flag=True, help="Make running services read the change.")
"""For every command that changes what services read."""


class RenamedOption(click.Option):
    """An option that also has the names of former versions, which no help shows."""

    def __init__(self, param_decls: Sequence[str], former: Sequence[str] = (), **settings: Any) -> None:
        super().__init__([*param_decls, *former], **settings)
        self.former = frozenset(former)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The line of the help, without former names."""
        names = self.opts
        self.opts = self.current_names
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = names

    @property
    def current_names(self) -> list[str]:
        """The names that are shown."""
        return [name for name in self.opts if name not in self.former]


class ChangeOptions(NamedTuple):
    """How a changing command was asked to work."""

    dry_run: bool
    diff: bool
    as_json: bool
    yes: bool = False
    verbose: bool = False

    @property
    def preview_only(self) -> bool:
        """Whether nothing may be changed."""
        return self.dry_run or self.diff


def change_options(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of every changing command; it gets them as `change`."""

    @click.option("--dry-run", is_flag=True, help="Show what would change without changing anything.")
    @click.option("--diff", is_flag=True, help="Show how files would change; implies --dry-run.")
    @json_option
    @click.option("--yes", is_flag=True, help="Answer yes to all questions.")
    @click.option("-v", "--verbose", is_flag=True, help="Show every single change.")
    @wraps(function)
    def with_change(
        *words: Any, dry_run: bool, diff: bool, as_json: bool, yes: bool, verbose: bool, **options: Any
    ) -> int:
        return function(*words, change=ChangeOptions(dry_run, diff, as_json, yes, verbose), **options)

    return with_change


def staged_change_options(function: Callable[..., int]) -> Callable[..., int]:
    """As `change_options`, with --root: the change is made below a staging root, without root and without history."""

    @click.option("--root", metavar="DIR", default="", help="Write below DIR, a staging root; a manifest lists owners.")
    @wraps(function)
    def with_root(*words: Any, root: str, **options: Any) -> int:
        if root:
            click.get_current_context().find_root().meta[STAGE] = os.path.abspath(root)
        return function(*words, **options)

    return change_options(with_root)


def migration_options(origin: str, goal: str) -> Decorator:
    """Give a command that copies from `origin` to `goal` its options; it gets them as `load` and `change`."""

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
