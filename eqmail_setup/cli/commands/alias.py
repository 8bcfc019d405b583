"""`eqmail alias`: the addresses that no account owns, and those that every host must have."""

import os
from typing import NoReturn

import click

from eqmail_core.site.site import Site
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.options import ChangeOptions, json_option, staged_change_options
from eqmail_setup.cli.output import Column, print_rows
from eqmail_setup.errors import EqmailError, not_found
from eqmail_setup.mail.aliases import (
    Alias,
    alias_folder,
    aliases_in,
    file_of,
    plan_add,
    plan_remove,
    plan_required_aliases,
)
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem

_COLUMNS = (Column("ALIAS", fixed=True), Column("TYPE", fixed=True), "GOES TO")


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
@staged_change_options
@click.pass_context
def init(context: click.Context, target: str, change: ChangeOptions) -> int:
    """Create root, postmaster, mailer-daemon and abuse, where they do not exist; all go to TARGET.

    TARGET is a local user or an address: .qmail-root names it, .qmail-postmaster names root, the other two are links
    to .qmail-postmaster.

    \b
    Examples:
      eqmail alias init joe
      eqmail alias init joe@example.org --dry-run
    """
    site = _opened(context)
    execute(context, site, change, lambda world: plan_required_aliases(site, world, target))
    return 0


@command.command("add")
@click.argument("name")
@click.argument("targets", nargs=-1, required=True)
@click.option("--replace", is_flag=True, help="Also where the alias exists and says something else.")
@staged_change_options
@click.pass_context
def add(context: click.Context, name: str, targets: tuple[str, ...], replace: bool, change: ChangeOptions) -> int:
    """Send mail for NAME to the TARGETS: addresses, local parts, ./Maildir/, ./Mailbox or '|PROGRAM'.

    Dots in NAME are fine. Refuses unknown local recipients and loops.

    \b
    Examples:
      eqmail alias add sales joe ann@example.net
      eqmail alias add first.last joe --replace
      eqmail alias add -- archive ./archive/
    """
    site = _opened(context)
    execute(context, site, change, lambda world: plan_add(site, world, name, targets, replace))
    return 0


@command.command("remove")
@click.argument("name")
@staged_change_options
@click.pass_context
def remove(context: click.Context, name: str, change: ChangeOptions) -> int:
    """Remove the alias NAME.

    \b
    Examples:
      eqmail alias remove sales
    """
    site = _opened(context)
    execute(context, site, change, lambda world: plan_remove(site, world, name))
    return 0


@command.command("list")
@json_option
@click.pass_context
def list_(context: click.Context, as_json: bool) -> int:
    """List every alias with where its mail goes.

    \b
    Examples:
      eqmail alias list --json
    """
    site = _opened(context)
    hint = ("eqmail", "alias", "init", "ADDRESS")
    print_rows(_COLUMNS, aliases_in(site, DiskFilesystem(site.home)), _cells, as_json, "aliases", "no aliases", hint)
    return 0


@command.command("show")
@click.argument("name")
@json_option
@click.pass_context
def show(context: click.Context, name: str, as_json: bool) -> int:
    """Show where mail for the alias NAME goes.

    \b
    Examples:
      eqmail alias show postmaster
    """
    site = _opened(context)
    file = file_of(name)
    found = [alias for alias in aliases_in(site, DiskFilesystem(site.home)) if file_of(alias.name) == file]
    if not found:
        _missing(site, file)
    print_rows(_COLUMNS, found, _cells, as_json, "aliases")
    return 0


def _cells(alias: Alias) -> tuple[str, str, str]:
    if alias.same_as:
        return alias.name, "link", alias.same_as
    kinds = dict.fromkeys(_kind(line) for line in alias.lines)
    return alias.name, ", ".join(kinds) or "default", ", ".join(alias.lines) or "the default delivery"


def _kind(line: str) -> str:
    """What a line of a .qmail file is."""
    if line.startswith("|"):
        return "program"
    if line.startswith((".", "/")):
        return "maildir" if line.endswith("/") else "mbox"
    return "address"


def _missing(site: Site, file: str) -> NoReturn:
    raise not_found(f"{site.alias}/{file}", ("eqmail", "alias", "list"))


def _opened(context: click.Context) -> Site:
    site = require_installation(context)
    if not os.path.isdir(site.alias):
        raise EqmailError(f"{site.alias}: missing", hint=("eqmail", "setup"))
    for elsewhere in alias_folder(site):
        click.echo(f"eqmail: warning: {elsewhere.line()}", err=True)
    return site
