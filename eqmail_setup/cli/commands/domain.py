"""`eqmail domain`: the domains of this installation, consistent over all the files that name them."""

import click

from eqmail_core.control.declared import Controls
from eqmail_core.site.site import Site
from eqmail_setup.cli.output import reporting, tell_rows
from eqmail_setup.installation.loading import demand_installation
from eqmail_setup.mail.domains import Domain, adding, domains_of, removing
from eqmail_setup.settings.reload import reload_services, wanted_by_running
from eqmail_setup.transaction.disk_filesystem import RealWorld
from eqmail_setup.transaction.transaction import Manner, carry_out, staging

_FILES = (Controls.locals.file, Controls.virtualdomains.file, Controls.rcpthosts.file)


@click.group("domain")
def command() -> None:
    """Manage the domains: locals, virtualdomains, rcpthosts and morercpthosts together.

    \b
    Examples:
      eqmail domain add example.org --reload
      eqmail domain add example.net --virtual joe
      eqmail domain list
    """


@command.command("add")
@click.argument("domain")
@click.option("--virtual", "prefix", metavar="PREFIX", help="The domain belongs to this user.")
@click.option("--many", is_flag=True, help="Accept it by way of morercpthosts, for thousands of domains.")
@click.option("--replace", is_flag=True, help="Also where the domain is delivered another way.")
@click.option("--reload", is_flag=True, help="Make running services read it.")
@staging
@click.pass_context
def add(
    context: click.Context, domain: str, prefix: str | None, many: bool, replace: bool, reload: bool, manner: Manner
) -> int:
    """Accept mail for DOMAIN and deliver it here; with --virtual, to the user PREFIX as PREFIX-ADDRESS.

    \b
    Examples:
      eqmail domain add example.org --dry-run
      eqmail domain add example.net --virtual joe --reload
      eqmail domain add .example.net --virtual joe
    """
    site = demand_installation(context)
    number = carry_out(context, site, manner, lambda world: adding(site, world, domain, prefix, many, replace))
    _afterwards(site, manner, number, reload)
    return 0


@command.command("remove")
@click.argument("domain")
@click.option("--reload", is_flag=True, help="Make running services read it.")
@staging
@click.pass_context
def remove(context: click.Context, domain: str, reload: bool, manner: Manner) -> int:
    """Neither accept mail for DOMAIN nor deliver it here any more.

    \b
    Examples:
      eqmail domain remove example.org --reload
    """
    site = demand_installation(context)
    number = carry_out(context, site, manner, lambda world: removing(site, world, domain))
    _afterwards(site, manner, number, reload)
    return 0


@command.command("list")
@reporting
@click.pass_context
def list_(context: click.Context, as_json: bool) -> int:
    """List every domain with what happens to its mail.

    \b
    Examples:
      eqmail domain list --json
    """
    site = demand_installation(context)
    tell_rows(domains_of(site, RealWorld(site.home)), as_json, _line)
    return 0


def _line(domain: Domain) -> str:
    kind = f"virtual, belongs to {domain.prefix}" if domain.prefix else domain.kind
    return f"{domain.name or '(all others)'}: {kind}{'' if domain.accepted else ', but not accepted'}"


def _afterwards(site: Site, manner: Manner, number: int, reload: bool) -> None:
    if manner.only_look or (manner.as_json and not reload):
        return
    if reload:
        click.echo(reload_services(site), err=manner.as_json)
    elif number:
        click.echo(wanted_by_running(_FILES))
