"""How every changing command does its work: look, say or do, write down, report; under one lock per installation.

A run does everything or nothing: what fails in the middle is undone at once, and what was killed in the middle is
undone by the next run (`eqmail_setup.transaction.recovery`).
"""

import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import unified_diff
from functools import wraps
from typing import Any, NamedTuple

import click

from eqmail_core.site.site import Site
from eqmail_setup.cli.output import json_option
from eqmail_setup.errors import EqmailError, permission_required
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.loading import STAGE, final_path, locked, stage_of
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.history import BEGUN, DONE, History, TransactionRecord
from eqmail_setup.transaction.operations import Operation, WriteFile, is_irreversible
from eqmail_setup.transaction.plan import Change, Severity, apply_changes
from eqmail_setup.transaction.recovery import recover_interrupted
from eqmail_setup.transaction.staged_filesystem import StagedFilesystem

_SECRETS = {"hash"}
"""Options whose values no record may hold."""

LOCK = ".setup.lock"
"""Below the home; every command that changes an installation holds its lock."""


class ChangeOptions(NamedTuple):
    """How a changing command was asked to work."""

    dry_run: bool
    diff: bool
    as_json: bool
    yes: bool = False

    @property
    def preview_only(self) -> bool:
        """Whether nothing may be changed."""
        return self.dry_run or self.diff


def change_options(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of every changing command; it gets them as `change`."""

    @click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
    @click.option("--diff", is_flag=True, help="Show how files would change; implies --dry-run.")
    @json_option
    @click.option("--yes", is_flag=True, help="Ask nothing; without a terminal nothing is asked anyway.")
    @wraps(function)
    def with_change(*words: Any, dry_run: bool, diff: bool, as_json: bool, yes: bool, **options: Any) -> int:
        return function(*words, change=ChangeOptions(dry_run, diff, as_json, yes), **options)

    return with_change


def staged_change_options(function: Callable[..., int]) -> Callable[..., int]:
    """As `changing`, with --root: the change is made below a staging root, without root and without history."""

    @click.option(
        "--root", metavar="DIR", default="", help="Stage below DIR without root; a manifest keeps the owners."
    )
    @wraps(function)
    def with_root(*words: Any, root: str, **options: Any) -> int:
        if root:
            click.get_current_context().find_root().meta[STAGE] = os.path.abspath(root)
        return function(*words, **options)

    return change_options(with_root)


class Transaction:
    """One run that holds the lock: performs actions, each written down before the first is done."""

    def __init__(self, home: str, command: str) -> None:
        self.filesystem = DiskFilesystem(home)
        self.history = History(home)
        self.number = 0
        self._command = command

    def apply(self, differences: list[Change], on_operation: Callable[[Operation], None], undoes: int = 0) -> int:
        """Perform the actions of the differences; how many there were.

        Fails: EqmailError as `plan.apply_changes`; then everything is as before.
        """
        actions = [difference.operation for difference in differences if difference.operation]
        if not actions:
            return 0
        run = TransactionRecord(
            0, int(time.time()), os.environ.get("SUDO_USER") or caller()[0], self._command, BEGUN, undoes, ()
        )
        run = self.history.begin(run, self.filesystem, actions)
        try:
            done = apply_changes(differences, self.filesystem, on_operation)
            self.filesystem.sync()
        except BaseException:
            recover_interrupted(self.history, self.filesystem)
            raise
        self.history.write(run.with_state(DONE))
        self.history.expire()
        self.number = run.number
        return done


def require_owner(home: str) -> None:
    """Refuse callers who cannot change an installation.

    Fails: Refusal.
    """
    if os.path.isdir(home) and not os.access(home, os.W_OK):
        raise permission_required(f"changing {home} needs the owner of the installation, often root")


@contextmanager
def begin_transaction(home: str, command: str) -> Iterator[Transaction]:
    """Hold the lock of an installation for one run, after undoing what an earlier run broke off.

    Fails: Refusal when another command holds the lock.
    """
    require_owner(home)
    os.makedirs(home, mode=0o755, exist_ok=True)
    with locked(f"{home}/{LOCK}"):
        run = Transaction(home, command)
        run.history.prepare()
        for line in recover_interrupted(run.history, run.filesystem):
            click.echo(f"eqmail: note: {line}", err=True)
        yield run


def filesystem_for(site: Site, stage: str) -> DiskFilesystem:
    """The home of a site on the disk, or below a staging root."""
    return StagedFilesystem(final_path(site, site.home), stage) if stage else DiskFilesystem(site.home)


class StagedTransaction:
    """A run below a staging root: it has no history, because nothing lives from what it makes."""

    number = 0

    def __init__(self, site: Site, stage: str) -> None:
        self.filesystem = filesystem_for(site, stage)

    def apply(self, differences: list[Change], on_operation: Callable[[Operation], None], undoes: int = 0) -> int:
        """Perform the actions of the differences; how many there were."""
        done = apply_changes(differences, self.filesystem, on_operation)
        self.filesystem.sync()
        return done


@contextmanager
def begin_staged_transaction(site: Site, stage: str) -> Iterator[StagedTransaction]:
    """Hold the lock of a staging root for one run.

    Fails: Refusal when another command holds it.
    """
    os.makedirs(stage, mode=0o755, exist_ok=True)
    with locked(f"{stage}/{LOCK}"):
        yield StagedTransaction(site, stage)


def execute(
    context: click.Context,
    site: Site,
    change: ChangeOptions,
    plan: Callable[[Filesystem], list[Change]],
    undoes: int = 0,
    leave: bool = False,
    quiet: bool = False,
) -> int:
    """Plan under the lock, then say or do it; the number of the run, 0 where nothing was done.

    A difference without a repair makes the whole run impossible, unless it may remain; then the caller reports it. With
    `quiet` the plan has reported the actions already.

    Fails: Refusal.
    """
    stage = stage_of(context)
    if change.preview_only:
        filesystem = filesystem_for(site, stage)
        differences = plan(filesystem)
        if not quiet:
            print_plan(differences, filesystem, change.as_json, change.diff)
        return 0
    with begin_staged_transaction(site, stage) if stage else begin_transaction(site.home, command_line(context)) as run:
        differences = plan(run.filesystem)
        stuck = [item for item in differences if item.operation is None and item.severity is Severity.ERROR]
        if stuck and not leave:
            raise EqmailError(stuck[0].line())
        confirm_irreversible(differences, run.filesystem, change)
        sentences = [item.operation.describe(run.filesystem) for item in differences if item.operation]
        run.apply(differences, lambda action: None, undoes)
        kept = [item.line() for item in differences if item.operation is None]
    if change.as_json:
        value = {"home": site.home, "run": run.number, "done": list(dict.fromkeys(sentences)), "kept": kept}
        click.echo(json.dumps(value, indent=1))
        return run.number
    for line in (*(() if quiet else dict.fromkeys(sentences)), *(() if leave else kept)):
        click.echo(line)
    if not sentences:
        click.echo("nothing to do")
    return run.number


def confirm_irreversible(differences: list[Change], filesystem: Filesystem, change: ChangeOptions) -> None:
    """Ask on the terminal before anything that no rollback can restore.

    Fails: Refusal for an answer that is not yes.
    """
    final = [
        item.operation.describe(filesystem)
        for item in differences
        if item.operation and is_irreversible(item.operation)
    ]
    demand_consent_to(final, "no rollback brings that back; go on?", change)


def demand_consent_to(sentences: list[str], question: str, change: ChangeOptions) -> None:
    """Ask on the terminal for confirmation of these sentences.

    Fails: Refusal for an answer that is not yes.
    """
    if not sentences or change.yes or change.as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    for sentence in dict.fromkeys(sentences):
        click.echo(sentence, err=True)
    if not click.confirm(f"eqmail: {question}", err=True):
        raise EqmailError("nothing was done")


def command_line(context: click.Context) -> str:
    """The command as it was given, for the history."""
    words = [context.command_path]
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if value in (None, False, ()) or value == parameter.default or parameter.name == "yes":
            continue
        if isinstance(parameter, click.Option):
            words.append(parameter.opts[0])
            if value is True:
                continue
            value = "..." if parameter.name in _SECRETS else value
        words += map(str, value) if isinstance(value, tuple) else [str(value)]
    return shlex.join(words[0].split(" ") + words[1:])


def print_plan(differences: list[Change], filesystem: Filesystem, as_json: bool, diff: bool) -> None:
    """Say what would be done."""
    if as_json:
        click.echo(json.dumps([_json_of(difference, filesystem) for difference in differences], indent=1))
        return
    actions = [difference.operation for difference in differences if difference.operation]
    for action in dict.fromkeys(actions):
        click.echo(action.describe(filesystem))
        if diff and isinstance(action, WriteFile):
            click.echo(_changes(action, filesystem), nl=False)
    for difference in differences:
        if difference.severity is not Severity.ERROR:
            click.echo(difference.line())
    if not actions:
        click.echo("nothing to do")


def _changes(action: WriteFile, filesystem: Filesystem) -> str:
    seen = filesystem.stat(action.path)
    before = filesystem.read(action.path) if seen and seen.kind == "a file" else b""
    if b"\0" in before or b"\0" in action.content or not action.permissions.mode & 0o077:
        # Neither data nor secrets are shown.
        return ""
    old, new = (content.decode("utf-8", "replace").splitlines(keepends=True) for content in (before, action.content))
    path = filesystem.display_path(action.path)
    return "".join(unified_diff(old, new, path, path))


def _json_of(difference: Change, filesystem: Filesystem) -> dict[str, str]:
    return {
        "path": difference.path,
        "is": difference.found,
        "should": difference.expected,
        "weight": difference.severity.weight,
        "action": difference.operation.describe(filesystem) if difference.operation else "",
    }
