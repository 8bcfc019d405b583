"""How every changing command does its work: plan, then show the plan or carry it out, then report."""

import json
import shlex
from collections.abc import Callable
from difflib import unified_diff

import click

from eqmail_core.site.site import Site
from eqmail_setup.cli.context import stage_of
from eqmail_setup.cli.options import ChangeOptions
from eqmail_setup.cli.output import confirm, echo, is_interactive, print_note
from eqmail_setup.errors import EqmailError, Severity
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.operations import WriteFile, is_irreversible
from eqmail_setup.transaction.plan import Change
from eqmail_setup.transaction.transaction import begin_staged_transaction, begin_transaction, filesystem_for

_SECRETS = {"hash"}
"""Options whose values no record may hold."""


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

    What nobody can mend makes the whole run impossible, unless it may be left; then the caller tells of it. With
    `quiet` the plan has told what is done.

    Fails: Refusal.
    """
    stage = stage_of(context)
    if change.preview_only:
        filesystem = filesystem_for(site, stage)
        differences = plan(filesystem)
        if not quiet:
            print_plan(differences, filesystem, change.as_json, change.diff)
        return 0
    with (
        begin_staged_transaction(site, stage)
        if stage
        else begin_transaction(site.home, command_line(context), print_note) as run
    ):
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
        echo(json.dumps(value, indent=1))
        return run.number
    for line in (*(() if quiet else dict.fromkeys(sentences)), *(() if leave else kept)):
        echo(line)
    if not sentences:
        echo("nothing to do")
    return run.number


def confirm_irreversible(differences: list[Change], filesystem: Filesystem, change: ChangeOptions) -> None:
    """Ask whoever sits at the terminal before anything that no rollback can bring back.

    Fails: Refusal for an answer that is not yes.
    """
    final = [
        item.operation.describe(filesystem)
        for item in differences
        if item.operation and is_irreversible(item.operation)
    ]
    demand_consent_to(final, "no rollback brings that back; go on?", change)


def demand_consent_to(sentences: list[str], question: str, change: ChangeOptions) -> None:
    """Ask whoever sits at the terminal about what these sentences say.

    Fails: Refusal for an answer that is not yes.
    """
    if not sentences or change.yes or change.as_json or not is_interactive():
        return
    for sentence in dict.fromkeys(sentences):
        echo(sentence, err=True)
    if not confirm(f"eqmail: {question}"):
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
        echo(json.dumps([_json_of(difference, filesystem) for difference in differences], indent=1))
        return
    actions = [difference.operation for difference in differences if difference.operation]
    for action in dict.fromkeys(actions):
        echo(action.describe(filesystem))
        if diff and isinstance(action, WriteFile):
            echo(_changes(action, filesystem), nl=False)
    for difference in differences:
        if difference.severity is not Severity.ERROR:
            echo(difference.line())
    if not actions:
        echo("nothing to do")


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
        "weight": difference.severity.value,
        "action": difference.operation.describe(filesystem) if difference.operation else "",
    }
