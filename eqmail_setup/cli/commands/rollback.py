"""`eqmail rollback`: take back what one run changed."""

import click

from eqmail_core.site.site import Site
from eqmail_core.site.site_file import SITE_FILE
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.options import ChangeOptions, change_options
from eqmail_setup.errors import EqmailError, usage_error
from eqmail_setup.settings.reload import running_pid
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.history import DONE, History, TransactionRecord
from eqmail_setup.transaction.plan import Change
from eqmail_setup.transaction.recovery import plan_rollback


@click.command("rollback")
@click.argument("number", type=int, required=False)
@click.option("--force", is_flag=True, help="Also where something was changed since.")
@change_options
@click.pass_context
def command(context: click.Context, number: int | None, force: bool, change: ChangeOptions) -> int:
    """Put back what was there before run NUMBER; without NUMBER, before the last run that still stands.

    Refuses where something was changed since. A rollback is a run too and can be taken back.

    \b
    Examples:
      eqmail rollback --diff
      eqmail rollback
      eqmail rollback 12 --force
    """
    site = require_installation(context)
    history = History(site.home)
    chosen = number or _last(history)

    def plan(filesystem: Filesystem) -> list[Change]:
        run = _run(history, chosen)
        _demand_still(site, run)
        return [] if chosen in history.rolled_back() else plan_rollback(history, run, filesystem, force)

    execute(context, site, change, plan, undoes=chosen)
    return 0


def _demand_still(site: Site, run: TransactionRecord) -> None:
    """Refuse to take programs and queue away from running services.

    Fails: Refusal.
    """
    if any(step.path == SITE_FILE and step.before is None for step in run.changes) and running_pid(site):
        raise EqmailError(f"run {run.number} made the installation, and its services run; stop them first")


def _last(history: History) -> int:
    """The newest run that stands and is no rollback itself.

    Fails: Refusal if there is none.
    """
    undone = history.rolled_back()
    standing = [run.number for run in history.records() if run.state == DONE and not run.undoes]
    for number in reversed(standing):
        if number not in undone:
            return number
    raise EqmailError("there is no run to take back; eqmail history lists all")


def _run(history: History, number: int) -> TransactionRecord:
    run = history.record(number)
    if run is None:
        raise usage_error(f"there is no run {number}; eqmail history lists all")
    if run.state != DONE:
        raise EqmailError(f"run {number} broke off and is undone already")
    return run
