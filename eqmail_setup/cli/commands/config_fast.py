"""`eqmail config-fast`: the first control files, with C's output and a look at the name that is given."""

import os
import socket

import click

from eqmail_core.system.installation import read_controls
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.options import ChangeOptions, reload_option, staged_change_options
from eqmail_setup.network.hostnames import host_name_of, require_host_name
from eqmail_setup.network.public_suffix import is_public_suffix
from eqmail_setup.settings.classic_steps import steps_to_run
from eqmail_setup.settings.initial import plan_initial_settings
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.plan import Change


@click.command("config-fast")
@click.argument("fqdn", required=False)
@reload_option
@staged_change_options
@click.pass_context
def command(context: click.Context, fqdn: str | None, reload: bool, change: ChangeOptions) -> int:
    """Write me, defaultdomain, plusdomain, locals, rcpthosts, smtpplugins and beforemote for the host FQDN.

    Without FQDN the name of this host is taken. Files that exist are kept, except me and defaultdomain.

    \b
    Examples:
      eqmail config-fast mail.example.org
      eqmail config-fast --diff
    """
    site = require_installation(context)
    name = fqdn or host_name_of(socket.gethostname())
    require_host_name(name)
    talks = not (change.as_json or change.diff)

    def plan(filesystem: Filesystem) -> list[Change]:
        steps = plan_initial_settings(site, name, filesystem)
        for line in (line for line, _ in steps if line and talks):
            click.echo(line)
        return steps_to_run(site, steps)

    execute(context, site, change, plan, quiet=talks, reload=reload)
    plus = os.fsdecode(read_controls(site).plusdomain)
    if is_public_suffix(plus):
        click.echo(
            f"eqmail: warning: plusdomain: {plus} is a public suffix, under which anyone may have names; "
            f"put a domain of your own there: eqmail config set plusdomain DOMAIN",
            err=True,
        )
    return 0
