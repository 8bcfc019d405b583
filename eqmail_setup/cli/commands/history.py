"""`eqmail history`: what every run changed, the newest last."""

import json
import os
import time

import click

from eqmail_setup.cli.output import reporting
from eqmail_setup.errors import privilege, usage
from eqmail_setup.installation.loading import demand_installation
from eqmail_setup.transaction.disk_filesystem import RealWorld
from eqmail_setup.transaction.history import BEGUN, DONE, FOLDER, History, Run, Trace


@click.command("history")
@click.argument("number", type=int, required=False)
@reporting
@click.pass_context
def command(context: click.Context, number: int | None, as_json: bool) -> int:
    """List the runs that changed this installation, or tell what run NUMBER changed.

    \b
    Examples:
      eqmail history
      eqmail history 12
      eqmail rollback 12
    """
    site = demand_installation(context)
    if os.path.isdir(f"{site.home}/{FOLDER}") and not os.access(f"{site.home}/{FOLDER}", os.R_OK | os.X_OK):
        raise privilege(f"the history of {site.home} needs the owner of the installation, often root")
    history, world = History(site.home), RealWorld(site.home)
    undone = history.undone()
    if number is not None:
        run = history.run(number)
        if run is None:
            raise usage(f"there is no run {number}; eqmail history lists all")
        runs = [run]
    else:
        runs = list(history.runs())
    if as_json:
        click.echo(json.dumps([_value(run, undone) for run in runs], indent=1))
        return 0
    for run in runs:
        click.echo(f"{run.number:4}  {_when(run)}  {run.who}  {run.command}  ({_state(run, undone)})")
        if number is not None:
            for step in run.steps:
                click.echo(f"      {world.show(step.path)}: {_shown(step.before)} -> {_shown(step.after)}")
    if not runs:
        click.echo("nothing was changed yet")
    return 0


def _when(run: Run) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.began))


def _state(run: Run, undone: dict[int, int]) -> str:
    if run.number in undone:
        return f"undone by {undone[run.number]}"
    if run.state == DONE:
        return f"{len(run.steps)} changes" if len(run.steps) != 1 else "1 change"
    return "broken off; the next changing command undoes it" if run.state == BEGUN else run.state


def _shown(of: Trace | None) -> str:
    if of is None:
        return "nothing"
    return of.kind if not of.dress.owner else f"{of.kind} ({of.dress}{', ' + of.digest[:8] if of.digest else ''})"


def _value(run: Run, undone: dict[int, int]) -> dict[str, object]:
    return {
        "run": run.number,
        "began": run.began,
        "who": run.who,
        "command": run.command,
        "state": run.state,
        "undone_by": undone.get(run.number),
        "paths": [step.path for step in run.steps],
    }
