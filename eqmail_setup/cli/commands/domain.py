"""`eqmail domain`: the domains of this installation, consistent over all the files that name them."""

import click

from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_controls
from eqmail_setup.cli.context import require_installation, stage_of
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.mailbox_account import owner_of_mailboxes
from eqmail_setup.cli.options import ChangeOptions, RenamedOption, json_option, reload_option, staged_change_options
from eqmail_setup.cli.output import Column, echo, print_rows
from eqmail_setup.errors import usage_error
from eqmail_setup.mail.domains import Domain, domains_of, plan_add, plan_remove
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem

_COLUMNS = (Column("DOMAIN", fixed=True), "TYPE", "USER", "ACCEPTED BY SMTP")


@click.group("domain")
def command() -> None:
    """Manage the domains: locals, virtualdomains, rcpthosts and morercpthosts together.

    \b
    Examples:
      eqmail domain add example.org --reload
      eqmail domain add example.net --catch-all joe
      eqmail domain list
    """


@command.command("add")
@click.argument("domain")
@click.option("--catch-all", "targets", metavar="TARGET", multiple=True, help="Who gets mail for every other address.")
@click.option("--virtual", "prefix", metavar="PREFIX", help="Deliver ADDRESS to PREFIX-ADDRESS, as qmail does.")
@click.option(
    "--morercpthosts",
    "many",
    cls=RenamedOption,
    former=["--many"],
    is_flag=True,
    help="Use morercpthosts, for thousands of domains.",
)
@click.option("--replace", is_flag=True, help="Also where the domain is delivered another way.")
@reload_option
@staged_change_options
@click.pass_context
def add(
    context: click.Context,
    domain: str,
    targets: tuple[str, ...],
    prefix: str | None,
    many: bool,
    replace: bool,
    reload: bool,
    change: ChangeOptions,
) -> int:
    """Accept mail for DOMAIN and deliver it here, to the same users and aliases as that of this host.

    With --catch-all, every address of DOMAIN that has no mailbox (eqmail mailbox add) goes to TARGET, an address or a
    user. With --virtual, DOMAIN belongs to a user, whose .qmail-ADDRESS files say where mail goes.

    \b
    Examples:
      eqmail domain add example.org --reload
      eqmail domain add example.net --catch-all joe --reload
      eqmail domain add example.net --virtual joe --dry-run
    """
    site = require_installation(context)
    if targets:
        number = _add_catch_all(context, site, domain, targets, (prefix, many), replace, reload, change)
    else:
        number = execute(
            context, site, change, lambda world: plan_add(site, world, domain, prefix, many, replace), reload=reload
        )
    if number and not (change.as_json or domain.startswith(".")):
        _print_records(site, domain)
    return 0


def _add_catch_all(
    context: click.Context,
    site: Site,
    domain: str,
    targets: tuple[str, ...],
    others: tuple[str | None, bool],
    replace: bool,
    reload: bool,
    change: ChangeOptions,
) -> int:
    from eqmail_setup.mail.catch_all import plan_catch_all

    if any(others) or stage_of(context):
        raise usage_error("--catch-all excludes --virtual, --morercpthosts and --root")
    ids = owner_of_mailboxes(site, "", domain.lower(), change)
    return execute(
        context, site, change, lambda world: plan_catch_all(site, world, domain, ids, targets, replace), reload=reload
    )


@command.command("remove")
@click.argument("domain")
@reload_option
@staged_change_options
@click.pass_context
def remove(context: click.Context, domain: str, reload: bool, change: ChangeOptions) -> int:
    """Neither accept mail for DOMAIN nor deliver it here any more.

    \b
    Examples:
      eqmail domain remove example.org --reload
    """
    site = require_installation(context)
    execute(context, site, change, lambda world: plan_remove(site, world, domain), reload=reload)
    return 0


@command.command("list")
@json_option
@click.pass_context
def list_(context: click.Context, as_json: bool) -> int:
    """List every domain with what happens to its mail.

    \b
    Examples:
      eqmail domain list --json
    """
    site = require_installation(context)
    hint = ("eqmail", "domain", "add", "DOMAIN")
    print_rows(_COLUMNS, domains_of(site, DiskFilesystem(site.home)), _cells, as_json, "domains", "no domains", hint)
    return 0


def _cells(domain: Domain) -> tuple[str, str, str, str]:
    return domain.name or "(all others)", domain.kind, domain.prefix or "-", "yes" if domain.accepted else "no"


def _print_records(site: Site, domain: str) -> None:
    """Show the DNS records that mail for a new domain needs."""
    from eqmail_setup.mail.dns_zone import record_context
    from eqmail_setup.network.records import zone_text

    if read_controls(site).me:
        echo(
            f"\nDNS records to publish (eqmail dns check {domain}):\n\n{zone_text(record_context(site, domain))}",
            nl=False,
        )
