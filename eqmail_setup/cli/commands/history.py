"""`eqmail history`: what every run changed, the newest last."""

import json
import os
import time

import click

from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.options import json_option
from eqmail_setup.errors import permission_required, usage_error
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
from eqmail_setup.transaction.history import BEGUN, DONE, HISTORY_FOLDER, History, PathDigest, TransactionRecord


@click.command("history")
@click.argument("number", type=int, required=False)
@json_option
@click.pass_context
def command(context: click.Context, number: int | None, as_json: bool) -> int:
    """List the runs that changed this installation, or tell what run NUMBER changed.

    \b
    Examples:
      eqmail history
      eqmail history 12
      eqmail rollback 12
    """
    site = require_installation(context)
    if os.path.isdir(f"{site.home}/{HISTORY_FOLDER}") and not os.access(
        f"{site.home}/{HISTORY_FOLDER}", os.R_OK | os.X_OK
    ):
        raise permission_required(f"the history of {site.home} needs the owner of the installation, often root")
    history, filesystem = History(site.home), DiskFilesystem(site.home)
    undone = history.rolled_back()
    if number is not None:
        run = history.record(number)
        if run is None:
            raise usage_error(f"there is no run {number}; eqmail history lists all")
        runs = [run]
    else:
        runs = list(history.records())
    if as_json:
        click.echo(json.dumps([_value(run, undone) for run in runs], indent=1))
        return 0
    for run in runs:
        click.echo(f"{run.number:4}  {_when(run)}  {run.user}  {run.command}  ({_state(run, undone)})")
        if number is not None:
            for step in run.changes:
                click.echo(f"      {filesystem.display_path(step.path)}: {_shown(step.before)} -> {_shown(step.after)}")
    if not runs:
        click.echo("nothing was changed yet")
    return 0


def _when(run: TransactionRecord) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.started_at))


def _state(run: TransactionRecord, undone: dict[int, int]) -> str:
    if run.number in undone:
        return f"undone by {undone[run.number]}"
    if run.state == DONE:
        return f"{len(run.changes)} changes" if len(run.changes) != 1 else "1 change"
    return "broken off; the next changing command undoes it" if run.state == BEGUN else run.state


def _shown(of: PathDigest | None) -> str:
    if of is None:
        return "nothing"
    return (
        of.kind
        if not of.permissions.owner
        else f"{of.kind} ({of.permissions}{', ' + of.digest[:8] if of.digest else ''})"
    )


def _value(run: TransactionRecord, undone: dict[int, int]) -> dict[str, object]:
    return {
        "run": run.number,
        "began": run.started_at,
        "who": run.user,
        "command": run.command,
        "state": run.state,
        "undone_by": undone.get(run.number),
        "paths": [step.path for step in run.changes],
    }
