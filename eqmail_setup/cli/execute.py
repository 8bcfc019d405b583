"""How every changing command does its work: plan, then show the plan or carry it out, then report."""

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import unified_diff
from typing import Literal

import click

from eqmail_core.site.site import Site
from eqmail_setup.cli.context import stage_of
from eqmail_setup.cli.options import ChangeOptions
from eqmail_setup.cli.output import confirm, echo, is_interactive, print_json, print_note, styled
from eqmail_setup.cli.summary import summary_lines
from eqmail_setup.errors import EqmailError
from eqmail_setup.installation.manifest_nodes import PathKind
from eqmail_setup.settings.reload import after_change
from eqmail_setup.settings.secrets import is_secret_file, redact_file, redact_words
from eqmail_setup.transaction.filesystem import Filesystem, PathSnapshot, snapshot
from eqmail_setup.transaction.operations import Description, Operation, is_irreversible
from eqmail_setup.transaction.plan import Change, Plan
from eqmail_setup.transaction.transaction import begin_staged_transaction, begin_transaction, filesystem_for

SCHEMA = "change-1"
NOTHING = "No changes needed."
CANCELLED = "cancelled; nothing was changed"
IRREVERSIBLE = "This cannot be undone. Continue?"
Presentation = Callable[[Sequence[Operation], Sequence[Description], Literal["planned", "done"], Sequence[Change]], str]
"""Makes the report of a command for people."""

_SECRET_OPTIONS = {"hash"}
"""Options whose values no record may hold."""


def execute(
    context: click.Context,
    site: Site,
    change: ChangeOptions,
    plan: Callable[[Filesystem], Iterable[Change]],
    undoes: int = 0,
    leave: bool = False,
    quiet: bool = False,
    question: Callable[[Plan], str] = lambda plan: "",
    reload: bool = False,
    present: Presentation | None = None,
) -> int:
    """Plan under the lock, then show the plan or carry it out; the number of the transaction, 0 for none.

    A blocker makes all of it impossible, unless it may be left; then the caller reports it. With `quiet` the plan has
    reported the changes already. `question` is asked before anything changes. At the end it is said what makes running
    services use changed settings; with `reload` they reread what they can. `present` makes the report for people from
    the operations, their descriptions and the notes.

    Fails: EqmailError.
    """
    stage = stage_of(context)
    if change.preview_only:
        filesystem = filesystem_for(site, stage)
        items = plan(filesystem)
        if present is not None and not (change.as_json or change.diff):
            _print_presented(Plan.of(items), filesystem, present)
        elif not quiet:
            print_plan(items, filesystem, change.as_json, change.diff, change.verbose)
        return 0
    with (
        begin_staged_transaction(site, stage)
        if stage
        else begin_transaction(site.home, command_line(context), print_note) as run
    ):
        found = Plan.of(plan(run.filesystem))
        if not leave:
            found.require_possible()
        confirm_irreversible(found.changes, run.filesystem, change)
        if found.changes:
            require_consent([], question(found), change)
        values = [change_value(operation, run.filesystem) for operation in found.operations] if change.as_json else []
        done = [operation.describe(run.filesystem) for operation in found.operations]
        settings = list(_settings_among(site, found.operations, run.filesystem))
        run.apply(found.changes, lambda operation: None, undoes)
    if present is not None and not change.as_json:
        echo(present(found.operations, done, "done", found.notes))
        echo(count_text(len(done), run.number))
    else:
        report(site.home, run.number, done, [] if leave else found.notes, change, values, quiet)
    if not stage:
        report_action(site, settings, change, reload)
    return run.number


def _settings_among(site: Site, operations: Iterable[Operation], filesystem: Filesystem) -> Iterator[str]:
    """The names of the control files that operations change."""
    folder = f"{site.layout.control}/"
    for operation in operations:
        for path, _ in operation.predicted_changes(filesystem):
            if path.startswith(folder):
                yield path.removeprefix(folder)


def report_action(site: Site, settings: Iterable[str], change: ChangeOptions, reload: bool) -> None:
    """Say what makes running services use changes of these control files, if anything has to."""
    said = after_change(site, settings, reload)
    if said:
        echo(said, err=change.as_json)


def _print_presented(found: Plan, filesystem: Filesystem, present: Presentation) -> None:
    """Show what would change in the form of the command."""
    descriptions = [operation.describe(filesystem) for operation in found.operations]
    echo(present(found.operations, descriptions, "planned", [*found.notes, *found.blockers]))
    echo(f"Dry run: {count_text(len(descriptions), 0)}")


def report(
    home: str,
    number: int,
    done: Sequence[Description],
    notes: Iterable[Change],
    change: ChangeOptions,
    values: list[dict[str, object]] | None = None,
    quiet: bool = False,
) -> None:
    """Report what was done, then how much it was and under which number it can be undone."""
    if change.as_json:
        lines = [item.line() for item in notes]
        print_json(
            SCHEMA, installation=home, transaction=number or None, dry_run=False, changes=values or [], notes=lines
        )
        return
    if not quiet:
        for line in summary_lines([item.done for item in done], done, "done", change.verbose):
            echo(line)
    for note in notes:
        echo(styled(note.line(), note.severity))
    echo(count_text(len(done), number))


def count_text(count: int, number: int) -> str:
    """The last line of a report."""
    if not count:
        return NOTHING
    changes = "1 change" if count == 1 else f"{count} changes"
    return f"{changes} (transaction {number})." if number else f"{changes}."


def confirm_irreversible(changes: list[Change], filesystem: Filesystem, change: ChangeOptions) -> None:
    """Ask on the terminal before anything that no rollback can restore.

    Fails: EqmailError for an answer that is not yes.
    """
    final = [
        item.operation.describe(filesystem).planned
        for item in changes
        if item.operation and is_irreversible(item.operation)
    ]
    require_consent(final, IRREVERSIBLE if final else "", change)


def require_consent(sentences: list[str], question: str, change: ChangeOptions, always: bool = False) -> None:
    """Ask the person at the terminal. With `always`, where there is no terminal --yes is required.

    Fails: EqmailError for an answer that is not yes.
    """
    if not question or change.yes:
        return
    if change.as_json or not is_interactive():
        if always:
            raise EqmailError("not confirmed; --yes confirms it where there is no terminal")
        return
    for sentence in dict.fromkeys(sentences):
        echo(sentence, err=True)
    if not confirm(question):
        raise EqmailError(CANCELLED)


def command_line(context: click.Context) -> str:
    """The command as it was given, for the history, without secrets."""
    words = [context.command_path]
    setting = str(context.params.get("name") or "")
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if value is None or value is False or value == () or parameter.name in ("yes", "verbose"):
            continue
        if isinstance(parameter, click.Option) and value == parameter.default:
            continue
        if isinstance(parameter, click.Option):
            words.append(parameter.opts[0])
            if value is True:
                continue
            value = "..." if parameter.name in _SECRET_OPTIONS else value
        texts = [str(item) for item in value] if isinstance(value, tuple) else [str(value)]
        words += redact_words(setting, texts) if parameter.name == "values" else texts
    return shlex.join(words[0].split(" ") + words[1:])


def print_plan(
    items: Iterable[Change], filesystem: Filesystem, as_json: bool, diff: bool, verbose: bool = False
) -> None:
    """Show what would change."""
    found = Plan.of(items)
    operations = found.operations
    if as_json:
        values = [change_value(operation, filesystem) for operation in operations]
        notes = [item.line() for item in (*found.notes, *found.blockers)]
        print_json(
            SCHEMA,
            installation=filesystem.display_path(""),
            transaction=None,
            dry_run=True,
            changes=values,
            notes=notes,
        )
        return
    descriptions = [operation.describe(filesystem) for operation in operations]
    if diff:
        for operation, description in zip(operations, descriptions, strict=True):
            echo(description.planned)
            for line in _differences(operation, filesystem):
                echo(line)
    else:
        for line in summary_lines([item.planned for item in descriptions], descriptions, "planned", verbose):
            echo(line)
    for item in (*found.notes, *found.blockers):
        echo(styled(item.line(), item.severity))
    echo(f"Dry run: {count_text(len(operations), 0)}" if operations else NOTHING)


def print_nothing_done(home: str, lines: list[str], change: ChangeOptions) -> None:
    """Show what a command would do that changes no file that is known before."""
    if change.as_json:
        print_json(SCHEMA, installation=home, transaction=None, dry_run=True, changes=[], notes=lines)
        return
    for line in lines:
        echo(line)


def _differences(operation: Operation, filesystem: Filesystem) -> Iterable[str]:
    """How files would change, as a unified diff; neither data nor secrets are shown."""
    for path, after in operation.predicted_changes(filesystem):
        before = snapshot(path, filesystem)
        old, new = (_shown_text(path, state) for state in (before, after))
        if old is None or new is None or old == new:
            continue
        show = filesystem.display_path(path)
        for line in unified_diff(old.splitlines(), new.splitlines(), show, show, lineterm=""):
            yield styled(line, {"-": "error", "+": "added"}.get(line[:1], "info"))


def _shown_text(path: str, state: PathSnapshot | None) -> str | None:
    """The text of a file; "" if it is missing, None if it must not be shown."""
    if state is None:
        return ""
    if state.kind is not PathKind.FILE or b"\0" in state.content:
        return None
    if is_secret_file(path):
        return redact_file(path, state.content).decode("utf-8", "replace")
    return state.content.decode("utf-8", "replace") if state.permissions.mode & 0o007 else None


def change_value(operation: Operation, filesystem: Filesystem) -> dict[str, object]:
    """One change in JSON."""
    description = operation.describe(filesystem)
    predicted = list(operation.predicted_changes(filesystem))
    path, after = predicted[-1] if predicted else ("", None)
    return {
        "operation": description.verb.value[0],
        "path": filesystem.display_path(path) if predicted else description.path,
        "before": _state_value(snapshot(path, filesystem)) if predicted else None,
        "after": _state_value(after),
    }


def _state_value(state: PathSnapshot | None) -> dict[str, object] | None:
    if state is None:
        return None
    owner, group, mode = state.permissions
    value: dict[str, object] = {"kind": state.kind.value, "owner": owner, "group": group, "mode": f"{mode:04o}"}
    return value | ({"bytes": len(state.content)} if state.kind is PathKind.FILE else {})
