"""`eqmail config-fast`: the first control files, with C's output and a look at the name that is given."""

import os
import socket

import click

from eqmail_core.system.installation import read_controls
from eqmail_setup.installation.loading import demand_installation
from eqmail_setup.network.hostnames import demand_host_name, host_name_of
from eqmail_setup.network.public_suffix import is_public_suffix
from eqmail_setup.settings.classic_steps import needed
from eqmail_setup.settings.initial import first_settings
from eqmail_setup.transaction.filesystem import World
from eqmail_setup.transaction.plan import Difference
from eqmail_setup.transaction.transaction import Manner, carry_out, staging


@click.command("config-fast")
@click.argument("fqdn", required=False)
@staging
@click.pass_context
def command(context: click.Context, fqdn: str | None, manner: Manner) -> int:
    """Write me, defaultdomain, plusdomain, locals, rcpthosts, smtpplugins and beforemote for the host FQDN.

    Without FQDN the name of this host is taken. Files that exist are kept, except me and defaultdomain.

    \b
    Examples:
      eqmail config-fast mail.example.org
      eqmail config-fast --diff
    """
    site = demand_installation(context)
    name = fqdn or host_name_of(socket.gethostname())
    demand_host_name(name)
    talks = not (manner.as_json or manner.diff)

    def plan(world: World) -> list[Difference]:
        steps = first_settings(site, name, world)
        for line in (line for line, _ in steps if line and talks):
            click.echo(line)
        return needed(site, steps)

    carry_out(context, site, manner, plan, quiet=talks)
    plus = os.fsdecode(read_controls(site).plusdomain)
    if is_public_suffix(plus):
        click.echo(
            f"eqmail: warning: plusdomain: {plus} is a public suffix, under which strangers have names; "
            f"put a domain of your own there: eqmail config set plusdomain DOMAIN",
            err=True,
        )
    return 0
