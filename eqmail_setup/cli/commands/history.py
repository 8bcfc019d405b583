"""`eqmail history`: what each transaction changed, the newest last."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from difflib import unified_diff

import click

from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.options import json_option
from eqmail_setup.cli.output import Column, echo, print_json, print_table
from eqmail_setup.errors import EqmailError, permission_required
from eqmail_setup.installation.manifest_nodes import PathKind
from eqmail_setup.settings.secrets import is_secret_file, redact_file
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
from eqmail_setup.transaction.filesystem import snapshot
from eqmail_setup.transaction.history import (
    HISTORY_FOLDER,
    History,
    PathChange,
    PathDigest,
    TransactionRecord,
    TransactionState,
    digest_of,
)

COLUMNS = (Column("NUMBER", right=True), Column("TIME", fixed=True), Column("USER"), Column("CHANGES", right=True))
DEFAULT_LIMIT = 20


@click.command("history")
@click.argument("number", type=int, required=False)
@click.option(
    "--limit", type=click.IntRange(0), default=DEFAULT_LIMIT, show_default=True, help="Most lines, 0 for all."
)
@click.option("--diff", "with_diff", is_flag=True, help="With NUMBER: show how files changed, without secrets.")
@json_option
@click.pass_context
def command(context: click.Context, number: int | None, limit: int, with_diff: bool, as_json: bool) -> int:
    """List the transactions that changed this installation, or show what transaction NUMBER changed.

    \b
    Examples:
      eqmail history
      eqmail history 12 --diff
      eqmail rollback 12
    """
    site = require_installation(context)
    folder = f"{site.home}/{HISTORY_FOLDER}"
    if os.path.isdir(folder) and not os.access(folder, os.R_OK | os.X_OK):
        raise permission_required(f"{folder}: the history needs the owner of the installation, often root")
    history = History(site.home)
    undone = history.rolled_back()
    records = list(history.records())
    if number is not None:
        records = [record for record in records if record.number == number]
        if not records:
            raise EqmailError(f"transaction {number}: not found", hint=("eqmail", "history"))
    total = len(records)
    records = records[-limit:] if limit else records
    if as_json:
        print_json("history-1", installation=site.home, transactions=[_value(record, undone) for record in records])
        return 0
    if not records:
        echo("No transactions yet.")
        return 0
    rows = [
        (str(item.number), _time(item), item.user, str(len(item.changes)), _state(item, undone), item.command)
        for item in records
    ]
    shown = "" if len(records) == total else f"{len(records)} of {total} transactions; --limit 0 shows all"
    print_table([*COLUMNS, Column("STATE", fixed=True), Column("COMMAND")], rows, shown)
    if number is not None:
        echo()
        for change in records[0].changes:
            for line in _change_lines(history, change, DiskFilesystem(site.home), with_diff):
                echo(line)
    return 0


def _time(record: TransactionRecord) -> str:
    return datetime.fromtimestamp(record.started_at).strftime("%Y-%m-%d %H:%M:%S")


def _state(record: TransactionRecord, undone: dict[int, int]) -> str:
    if record.number in undone:
        return f"undone by {undone[record.number]}"
    if record.undoes:
        return f"undid {record.undoes}"
    return {TransactionState.COMMITTED: "", TransactionState.STARTED: "interrupted"}.get(record.state, "aborted")


def _change_lines(history: History, change: PathChange, filesystem: DiskFilesystem, with_diff: bool) -> Iterator[str]:
    path = filesystem.display_path(change.path)
    yield f"{path}: {_shown(change.before)} -> {_shown(change.after)}"
    old, new = (_text(history, change.path, state, filesystem) for state in (change.before, change.after))
    if with_diff and old is not None and new is not None:
        yield from unified_diff(old.splitlines(), new.splitlines(), path, path, lineterm="")


def _text(history: History, path: str, state: PathDigest | None, filesystem: DiskFilesystem) -> str | None:
    """A text as it was, without secrets; None where its content is not kept, or is no text for others."""
    if state is None or not state.digest:
        return "" if state is None or state.kind is PathKind.FILE else None
    content = history.find_content(state.digest)
    if content is None:
        now = snapshot(path, filesystem)
        content = now.content if now and digest_of(now) == state else None
    if content is None or b"\0" in content or state.kind is not PathKind.FILE:
        return None
    if is_secret_file(path):
        return redact_file(path, content).decode("utf-8", "replace")
    return content.decode("utf-8", "replace") if state.permissions.mode & 0o007 else None


def _shown(state: PathDigest | None) -> str:
    if state is None:
        return "nothing"
    if not state.permissions.owner:
        return state.kind.value
    digest = f", {state.digest[:8]}" if state.digest else ""
    return f"{state.kind} ({state.permissions}{digest})"


def _value(record: TransactionRecord, undone: dict[int, int]) -> dict[str, object]:
    return {
        "transaction": record.number,
        "started": datetime.fromtimestamp(record.started_at, UTC).isoformat(),
        "user": record.user,
        "command": record.command,
        "state": record.state.value,
        "undoes": record.undoes or None,
        "undone_by": undone.get(record.number),
        "paths": [change.path for change in record.changes],
    }
