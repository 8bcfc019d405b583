"""`eqmail alias`: the addresses that no account owns, and those that every host must have."""

import os
from typing import NoReturn

import click

from eqmail_core.site.site import Site
from eqmail_setup.cli.output import reporting, tell_rows
from eqmail_setup.errors import FOUND, Refusal
from eqmail_setup.installation.loading import demand_installation
from eqmail_setup.mail.aliases import Alias, adding, aliases_in, beginning, file_of, home_of_aliases, removing
from eqmail_setup.transaction.disk_filesystem import RealWorld
from eqmail_setup.transaction.transaction import Manner, carry_out, staging


@click.group("alias")
def command() -> None:
    """Manage the addresses that no account owns.

    \b
    Examples:
      eqmail alias init joe
      eqmail alias add sales joe ann@example.net
      eqmail alias list
    """


@command.command("init")
@click.argument("target")
@staging
@click.pass_context
def init(context: click.Context, target: str, manner: Manner) -> int:
    """Create root, postmaster, mailer-daemon and abuse, where they do not exist; all go to TARGET.

    TARGET is a local user or an address: .qmail-root names it, .qmail-postmaster names root, the other two are links
    to .qmail-postmaster.

    \b
    Examples:
      eqmail alias init joe
      eqmail alias init joe@example.org --dry-run
    """
    site = _opened(context)
    carry_out(context, site, manner, lambda world: beginning(site, world, target))
    return 0


@command.command("add")
@click.argument("name")
@click.argument("targets", nargs=-1, required=True)
@click.option("--replace", is_flag=True, help="Also where the alias exists and says something else.")
@staging
@click.pass_context
def add(context: click.Context, name: str, targets: tuple[str, ...], replace: bool, manner: Manner) -> int:
    """Send mail for NAME to the TARGETS: addresses, local parts, ./Maildir/, ./Mailbox or '|PROGRAM'.

    Dots in NAME are fine. Refuses targets that nobody is here, and circles.

    \b
    Examples:
      eqmail alias add sales joe ann@example.net
      eqmail alias add first.last joe --replace
      eqmail alias add -- archive ./archive/
    """
    site = _opened(context)
    carry_out(context, site, manner, lambda world: adding(site, world, name, targets, replace))
    return 0


@command.command("remove")
@click.argument("name")
@staging
@click.pass_context
def remove(context: click.Context, name: str, manner: Manner) -> int:
    """Remove the alias NAME.

    \b
    Examples:
      eqmail alias remove sales
    """
    site = _opened(context)
    carry_out(context, site, manner, lambda world: removing(site, world, name))
    return 0


@command.command("list")
@reporting
@click.pass_context
def list_(context: click.Context, as_json: bool) -> int:
    """List every alias with where its mail goes.

    \b
    Examples:
      eqmail alias list --json
    """
    site = _opened(context)
    tell_rows(aliases_in(site, RealWorld(site.home)), as_json, _line, "no aliases yet; eqmail alias init ADDRESS")
    return 0


@command.command("show")
@click.argument("name")
@reporting
@click.pass_context
def show(context: click.Context, name: str, as_json: bool) -> int:
    """Show where mail for the alias NAME goes.

    \b
    Examples:
      eqmail alias show postmaster
    """
    site = _opened(context)
    file = file_of(name)
    found = [alias for alias in aliases_in(site, RealWorld(site.home)) if file_of(alias.name) == file]
    if not found:
        _missing(site, file)
    tell_rows(found, as_json, _line)
    return 0


def _line(alias: Alias) -> str:
    said = f"the same as {alias.same_as}" if alias.same_as else ", ".join(alias.lines) or "the default delivery"
    return f"{alias.name}: {said}"


def _missing(site: Site, file: str) -> NoReturn:
    raise Refusal(f"{site.alias}/{file}: does not exist; eqmail alias list shows all", FOUND)


def _opened(context: click.Context) -> Site:
    site = demand_installation(context)
    if not os.path.isdir(site.alias):
        raise Refusal(f"{site.alias}: missing; run: eqmail --home {site.home} setup")
    for elsewhere in home_of_aliases(site):
        click.echo(f"eqmail: warning: {elsewhere.line()}", err=True)
    return site
