"""`eqmail check`: compare an installation with what it should be, and mend what can be mended."""

import json
import os

import click

from eqmail_core.site.site import Site
from eqmail_setup.diagnostics.installation_check import inspect
from eqmail_setup.errors import DIFFERS, privilege
from eqmail_setup.installation.loading import demand_accounts, demand_installation, stage_of
from eqmail_setup.transaction.plan import Difference, Weight
from eqmail_setup.transaction.transaction import Manner, carry_out, staging, world_of


@click.command("check")
@click.option("--fix", is_flag=True, help="Mend what can be mended.")
@staging
@click.pass_context
def command(context: click.Context, fix: bool, manner: Manner) -> int:
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
    site = demand_installation(context)
    _demand_sight(site)
    if fix:
        if not (manner.only_look or stage_of(context)):
            demand_accounts(site)
        carry_out(context, site, manner, lambda world: list(inspect(site, world)), leave=True)
    if fix and manner.only_look:
        return 0
    left = list(inspect(site, world_of(site, stage_of(context))))
    if not fix:
        _tell(site, left, manner.as_json)
    elif not manner.as_json:
        for item in left:
            click.echo(item.line())
    return DIFFERS if any(item.weight is Weight.WRONG for item in left) else 0


def _tell(site: Site, differences: list[Difference], as_json: bool) -> None:
    if as_json:
        values = [
            {
                "path": item.path,
                "is": item.found,
                "should": item.wanted,
                "weight": item.weight.name.lower(),
                "fix": item.action is not None,
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
        raise privilege(f"check of {site.home} needs root, because it looks into the queue")
