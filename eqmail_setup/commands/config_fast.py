"""`eqmail config-fast`: the first control files, with C's output and a look at the name that is given."""

import os
import re
import socket

import click

from eqmail_core.system.installation import read_controls
from eqmail_core.values.site import Site
from eqmail_setup.first_settings import first_settings, host_name_of, write_first_settings
from eqmail_setup.opened import demand_installation
from eqmail_setup.plan import Difference
from eqmail_setup.public_suffix import is_public_suffix
from eqmail_setup.refusal import usage
from eqmail_setup.undertaking import described, undertaking

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_LONGEST_NAME = 253


@click.command("config-fast")
@click.argument("fqdn", required=False)
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@click.pass_context
def command(context: click.Context, fqdn: str | None, dry_run: bool) -> int:
    """Write me, defaultdomain, plusdomain, locals, rcpthosts, smtpplugins and beforemote for the host FQDN.

    Without FQDN the name of this host is taken. Files that exist are kept, except me and defaultdomain.

    \b
    Examples:
      eqmail config-fast mail.example.org
      eqmail config-fast --dry-run
    """
    site = demand_installation(context)
    name = fqdn or host_name_of(socket.gethostname())
    demand_host_name(name)
    if dry_run:
        write_first_settings(site, name, click.echo, only_say=True)
    else:
        _write(context, site, name)
    plus = os.fsdecode(read_controls(site).plusdomain)
    if is_public_suffix(plus):
        click.echo(
            f"eqmail: warning: plusdomain: {plus} is a public suffix, under which strangers have names; "
            f"put a domain of your own there: eqmail config set plusdomain DOMAIN",
            err=True,
        )
    return 0


def _write(context: click.Context, site: Site, name: str) -> None:
    with undertaking(site.home, described(context)) as run:
        steps = first_settings(site, name, run.world)
        for line, _ in steps:
            if line:
                click.echo(line)
        made = [Difference(run.world.home, "", "", action) for _, action in steps if action]
        run.perform(made, lambda action: None)


def demand_host_name(name: str) -> None:
    """Refuse what is no fully qualified host name.

    Fails: Refusal with the reason and an example.
    """
    labels = name.split(".")
    if name.endswith("."):
        reason = "ends in a dot; leave it out"
    elif len(labels) < 2:
        reason = "has no domain; give the full name, such as mail.example.org"
    elif labels[-1].isdigit():
        reason = "is an address; give the name of this host, such as mail.example.org"
    elif len(name) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        reason = "is not a host name; give one such as mail.example.org (a name in another script in its xn-- form)"
    else:
        return
    raise usage(f"{name!r} {reason}")
