"""`eqmail config-fast`: the first control files, with C's output and a look at the name that is given."""

import os
import re
import socket

import click

from eqmail_core.system.installation import read_controls
from eqmail_setup.first_settings import first_settings, host_name_of
from eqmail_setup.opened import demand_installation
from eqmail_setup.plan import Difference
from eqmail_setup.public_suffix import is_public_suffix
from eqmail_setup.refusal import usage
from eqmail_setup.undertaking import Manner, carry_out, staging
from eqmail_setup.world import World

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_LONGEST_NAME = 253


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
        return [Difference(site.control, "other", f"for {name}", action) for _, action in steps if action]

    carry_out(context, site, manner, plan, quiet=talks)
    plus = os.fsdecode(read_controls(site).plusdomain)
    if is_public_suffix(plus):
        click.echo(
            f"eqmail: warning: plusdomain: {plus} is a public suffix, under which strangers have names; "
            f"put a domain of your own there: eqmail config set plusdomain DOMAIN",
            err=True,
        )
    return 0


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
