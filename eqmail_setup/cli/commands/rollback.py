"""`eqmail rollback`: undo what one transaction changed."""

import click

from eqmail_core.site.site import Site
from eqmail_core.site.site_file import SITE_FILE
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.options import ChangeOptions, change_options, reload_option
from eqmail_setup.errors import EqmailError, usage_error
from eqmail_setup.settings.reload import running_pid
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.history import History, TransactionRecord, TransactionState
from eqmail_setup.transaction.plan import Change, Plan
from eqmail_setup.transaction.rollback import plan_rollback

_HISTORY = ("eqmail", "history")


@click.command("rollback")
@click.argument("number", type=int, required=False)
@click.option("--force", is_flag=True, help="Also undo what was changed again since.")
@reload_option
@change_options
@click.pass_context
def command(context: click.Context, number: int | None, force: bool, reload: bool, change: ChangeOptions) -> int:
    """Undo transaction NUMBER, or the last one that is not undone yet.

    Asks on a terminal. Refuses where something was changed since. A rollback is a transaction itself and can be undone.
    The transaction that created the installation is only undone by its number; see also eqmail uninstall.

    \b
    Examples:
      eqmail rollback --diff
      eqmail rollback
      eqmail rollback 12 --force
    """
    site = require_installation(context)
    history = History(site.home)
    chosen = _record(history, number or _last(history))

    def plan(filesystem: Filesystem) -> list[Change]:
        _require_stopped(site, chosen)
        if chosen.number in history.rolled_back():
            return []
        return plan_rollback(history, chosen, filesystem, force, keep_folders=not _is_creation(chosen))

    execute(
        *(context, site, change, plan),
        undoes=chosen.number,
        question=lambda found: _question(chosen, found),
        reload=reload,
    )
    return 0


def _question(record: TransactionRecord, plan: Plan) -> str:
    count = len(plan.operations)
    changes = "1 change" if count == 1 else f"{count} changes"
    warning = "This removes the installation. " if _is_creation(record) else ""
    return f"Transaction {record.number}: {record.command}   ({changes})\n{warning}Roll back?"


def _is_creation(record: TransactionRecord) -> bool:
    """Whether a transaction created the installation."""
    return any(item.path == SITE_FILE and item.before is None for item in record.changes)


def _require_stopped(site: Site, record: TransactionRecord) -> None:
    """Refuse to take programs and queue away from running services.

    Fails: EqmailError.
    """
    if _is_creation(record) and running_pid(site):
        raise EqmailError(f"transaction {record.number}: created the installation, and its services run; stop them")


def _last(history: History) -> int:
    """The newest transaction that is not undone, changed something, and is no rollback itself.

    Fails: EqmailError if there is only the one that created the installation.
    """
    undone = history.rolled_back()
    creation = 0
    for record in reversed(list(history.records())):
        is_candidate = record.state is TransactionState.COMMITTED and not record.undoes and record.changes
        if not is_candidate or record.number in undone:
            continue
        if not _is_creation(record):
            return record.number
        creation = creation or record.number
    if creation:
        text = f"only transaction {creation} is left, which created the installation; name it to undo it"
        raise EqmailError(text, hint=("eqmail", "uninstall"))
    raise EqmailError("no transaction to undo", hint=_HISTORY)


def _record(history: History, number: int) -> TransactionRecord:
    record = history.record(number)
    if record is None:
        raise EqmailError(f"transaction {number}: not found", hint=_HISTORY)
    if record.state is not TransactionState.COMMITTED:
        raise usage_error(f"transaction {number}: was interrupted and is undone already", _HISTORY)
    return record
