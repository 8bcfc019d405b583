"""`eqmail check`: compare an installation with its table, and its settings with each other."""

import json
import os

import click

from eqmail_core.values.site import Site
from eqmail_setup.aliases import home_of_aliases
from eqmail_setup.disk_world import RealWorld
from eqmail_setup.hierarchy import hierarchy
from eqmail_setup.models import Remark, remarks_on
from eqmail_setup.opened import demand_accounts, demand_installation
from eqmail_setup.plan import Difference, Weight, observe
from eqmail_setup.reach import reachable
from eqmail_setup.refusal import DIFFERS, privilege
from eqmail_setup.who import caller


@click.command("check")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> int:
    """Say what is not as it should be: owners, modes, programs, settings. Changes nothing; exits 1 on a difference.

    \b
    Examples:
      eqmail check
      eqmail check --json
    """
    site = demand_installation(context)
    _demand_sight(site)
    differences = [*observe(hierarchy(site, caller()), RealWorld(site.home)), *reachable(site.single_user)]
    differences += home_of_aliases(site)
    differences += [_as_difference(site, remark) for remark in remarks_on(site)]
    if as_json:
        values = [
            {"path": item.path, "is": item.found, "should": item.wanted, "weight": item.weight.name.lower()}
            for item in differences
        ]
        click.echo(json.dumps(values, indent=1))
    else:
        for item in differences:
            click.echo(item.line())
        if not differences:
            click.echo(f"{site.home}: all as it should be")
    return DIFFERS if any(item.weight is Weight.WRONG for item in differences) else 0


def _demand_sight(site: Site) -> None:
    demand_accounts(site)
    if os.path.isdir(site.queue.root) and not os.access(site.queue.lock, os.R_OK | os.X_OK):
        raise privilege(f"check of {site.home} needs root, because it looks into the queue")


def _as_difference(site: Site, remark: Remark) -> Difference:
    path = f"{site.control}/{remark.file}"
    return Difference(path, remark.found, remark.wanted, weight=remark.weight)
