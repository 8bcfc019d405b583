"""`eqmail check`: compare an installation with its expected state, and repair it."""

import os

import click

from eqmail_core.site.site import Site
from eqmail_setup.cli.context import require_installation, stage_of
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.options import ChangeOptions, staged_change_options
from eqmail_setup.cli.output import echo, hint_words, print_hint, print_json, styled
from eqmail_setup.diagnostics.installation_check import check_installation
from eqmail_setup.errors import ExitCode, Severity, permission_required
from eqmail_setup.installation.loading import require_accounts
from eqmail_setup.transaction.plan import Change
from eqmail_setup.transaction.transaction import filesystem_for

_FIX = ("eqmail", "check", "--fix")


@click.command("check")
@click.option("--fix", is_flag=True, help="Repair what can be repaired.")
@staged_change_options
@click.pass_context
def command(context: click.Context, fix: bool, change: ChangeOptions) -> int:
    """Compare an installation with what setup would make: accounts, permissions, programs, queue, databases, settings.

    Without --fix nothing is changed. With it, everything is repaired that needs no decision, as a transaction that can
    be rolled back, except in the queue. Exits 1 where a problem is left.

    \b
    Examples:
      eqmail check
      eqmail check --json
      eqmail check --fix --dry-run
      eqmail check --fix
      eqmail check --root /tmp/package
    """
    site = require_installation(context)
    _demand_sight(site)
    if fix:
        if not (change.preview_only or stage_of(context)):
            require_accounts(site)
        execute(context, site, change, lambda world: check_installation(site, world), leave=True)
    if fix and change.preview_only:
        return 0
    left = list(check_installation(site, filesystem_for(site, stage_of(context))))
    if not fix:
        _report(site, left, change.as_json)
    elif not change.as_json:
        for item in left:
            echo(styled(item.line(), item.severity))
    return ExitCode.PROBLEMS if any(item.severity is Severity.ERROR for item in left) else 0


def _report(site: Site, found: list[Change], as_json: bool) -> None:
    if as_json:
        print_json("findings-1", installation=site.home, findings=[_value(item) for item in found])
        return
    for item in found:
        echo(styled(item.line(), item.severity))
    fixable = sum(item.operation is not None for item in found)
    if fixable:
        print_hint(_FIX)
    if not found:
        echo(f"{site.home}: no problems found")


def _value(item: Change) -> dict[str, object]:
    return {
        "id": "check.difference",
        "severity": item.severity.value,
        "path": item.path,
        "message": item.found,
        "expected": item.expected,
        "hint": hint_words(_FIX) if item.operation else [],
        "fixable": item.operation is not None,
    }


def _demand_sight(site: Site) -> None:
    if os.path.isdir(site.queue.root) and not os.access(site.queue.lock, os.R_OK | os.X_OK):
        raise permission_required(f"check of {site.home} needs root, because it looks into the queue")
