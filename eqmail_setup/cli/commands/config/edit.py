"""The verbs of `eqmail config` that write or remove whole settings: set, unset, edit."""

import os
import sys

import click

from eqmail_core.system.files import read_file
from eqmail_setup.cli.commands.config.common import (
    carry_out_changes,
    confirm_unset,
    demand_no_key,
    in_units,
    one_line,
    settable,
    written,
)
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.options import ChangeOptions, reload_option, staged_change_options
from eqmail_setup.errors import usage_error
from eqmail_setup.settings.editor import declaration, plan_unset
from eqmail_setup.transaction.transaction import require_owner

_EDITORS = ("VISUAL", "EDITOR")


@click.command("set")
@click.argument("name")
@click.argument("values", nargs=-1)
@click.option("--unset", "take_away", is_flag=True, help="Remove the file, so that the default is in force.")
@reload_option
@staged_change_options
@click.pass_context
def set_(
    context: click.Context, name: str, values: tuple[str, ...], take_away: bool, reload: bool, change: ChangeOptions
) -> int:
    """Write one control file: each VALUE is one line. Refuses what a program could not use.

    \b
    Examples:
      eqmail config set concurrencyremote 100
      eqmail config set rcpthosts example.org .example.org --diff
    """
    control = settable(name)
    if values:
        demand_no_key(control)
    if take_away == bool(values):
        raise usage_error(f"give values for {name}, or --unset")
    if take_away and not change.preview_only:
        confirm_unset([control], change)
    if take_away:
        return carry_out_changes(context, change, reload, lambda site, world: plan_unset(site, world, control))
    content = b"".join(one_line(in_units(control, value)) + b"\n" for value in values)
    return carry_out_changes(context, change, reload, lambda site, world: written(site, world, control, content))


@click.command("unset")
@click.argument("names", nargs=-1, required=True)
@reload_option
@staged_change_options
@click.pass_context
def unset(context: click.Context, names: tuple[str, ...], reload: bool, change: ChangeOptions) -> int:
    """Remove control files, so that the defaults are in force.

    \b
    Examples:
      eqmail config unset databytes timeoutremote
    """
    controls = [declaration(name) for name in names]
    if not change.preview_only:
        confirm_unset(controls, change)
    return carry_out_changes(
        context,
        change,
        reload,
        lambda site, world: [item for control in controls for item in plan_unset(site, world, control)],
    )


@click.command("edit")
@click.argument("name")
@reload_option
@staged_change_options
@click.pass_context
def edit(context: click.Context, name: str, reload: bool, change: ChangeOptions) -> int:
    """Edit one control file with $EDITOR; what a program could not use is refused, and the file stays.

    \b
    Examples:
      EDITOR=vi eqmail config edit smtproutes --reload
    """
    control = settable(name)
    site = require_installation(context)
    if not change.preview_only:
        require_owner(site.home)
    if not (sys.stdin.isatty() or any(map(os.environ.get, _EDITORS))):
        raise usage_error("no terminal and no $EDITOR to edit with", ("eqmail", "config", "set", name, "VALUE"))
    before = read_file(f"{site.control}/{control.file}") or b""
    after = click.edit(before.decode("utf-8", "surrogateescape"), require_save=True, extension=f".{control.file}")
    content = before if after is None else after.encode("utf-8", "surrogateescape")
    return carry_out_changes(
        context,
        change,
        reload,
        lambda site, world: [] if content == before else written(site, world, control, content),
    )


VERBS = (set_, unset, edit)
