"""`eqmail check`: compare an installation with its expected state, and repair it."""

import json
import os

import click

from eqmail_core.site.site import Site
from eqmail_setup.cli.context import require_installation, stage_of
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.options import ChangeOptions, staged_change_options
from eqmail_setup.diagnostics.installation_check import check_installation
from eqmail_setup.errors import ExitCode, Severity, permission_required
from eqmail_setup.installation.loading import require_accounts
from eqmail_setup.transaction.plan import Change
from eqmail_setup.transaction.transaction import filesystem_for


@click.command("check")
@click.option("--fix", is_flag=True, help="Mend what can be mended.")
@staged_change_options
@click.pass_context
def command(context: click.Context, fix: bool, change: ChangeOptions) -> int:
    """Say what is not as it should be: accounts, owners, modes, programs, queue, databases, settings, certificates.

    Without --fix nothing is changed. With it, everything is mended that needs no decision, as a run that rollback
    takes back; only the queue stays in order. Exits 1 when something is left that a person has to look at.

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
        execute(context, site, change, lambda world: list(check_installation(site, world)), leave=True)
    if fix and change.preview_only:
        return 0
    left = list(check_installation(site, filesystem_for(site, stage_of(context))))
    if not fix:
        _tell(site, left, change.as_json)
    elif not change.as_json:
        for item in left:
            click.echo(item.line())
    return ExitCode.PROBLEMS if any(item.severity is Severity.ERROR for item in left) else 0


def _tell(site: Site, differences: list[Change], as_json: bool) -> None:
    if as_json:
        values = [
            {
                "path": item.path,
                "is": item.found,
                "should": item.expected,
                "weight": item.severity.value,
                "fix": item.operation is not None,
            }
            for item in differences
        ]
        click.echo(json.dumps(values, indent=1))
        return
    for item in differences:
        click.echo(item.line())
    if not differences:
        click.echo(f"{site.home}: all as it should be")


def _demand_sight(site: Site) -> None:
    if os.path.isdir(site.queue.root) and not os.access(site.queue.lock, os.R_OK | os.X_OK):
        raise permission_required(f"check of {site.home} needs root, because it looks into the queue")
