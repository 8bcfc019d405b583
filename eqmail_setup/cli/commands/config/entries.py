"""The verbs of `eqmail config` that change lines of a list or a map: add, remove."""

import os
from typing import Any

import click

from eqmail_core.control.list_kinds import Lines, Map
from eqmail_core.control.setting import Control
from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_controls
from eqmail_setup.cli.commands.config.common import carry_out_changes, one_line, written
from eqmail_setup.cli.options import ChangeOptions, reload_option, staged_change_options
from eqmail_setup.errors import not_found, usage_error
from eqmail_setup.settings.editor import content_of, declaration, with_lines, without_lines
from eqmail_setup.settings.secrets import redact_words
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.plan import Change


@click.command("add")
@click.argument("name")
@click.argument("values", nargs=-1, required=True)
@reload_option
@staged_change_options
@click.pass_context
def add(context: click.Context, name: str, values: tuple[str, ...], reload: bool, change: ChangeOptions) -> int:
    """Add lines to a list, as far as it has not got them; all other lines stay as they are.

    \b
    Examples:
      eqmail config add badmailfrom @spam.example
      eqmail config add relayclients 192.0.2.0/24 --reload
    """
    control = _list(name)
    lines = [one_line(value) for value in values]

    def plan(site: Site, filesystem: Filesystem) -> list[Change]:
        content = content_of(site, filesystem, control)
        if content is None and control.falls_back_to_me:
            # Without the file its value is the name of the host, which one more line must not take away.
            me = read_controls(site).me
            content = me + b"\n" if me else None
        return written(site, filesystem, control, with_lines(content, lines))

    return carry_out_changes(context, change, reload, plan)


@click.command("remove")
@click.argument("name")
@click.argument("values", nargs=-1, required=True)
@reload_option
@staged_change_options
@click.pass_context
def remove(context: click.Context, name: str, values: tuple[str, ...], reload: bool, change: ChangeOptions) -> int:
    """Remove lines from a list; for a map, VALUE may be the key alone.

    \b
    Examples:
      eqmail config remove badmailfrom @spam.example
      eqmail config remove smtproutes example.org
    """
    control = _list(name)
    unwanted = {os.fsencode(value).lower() for value in values}

    def drops(entry: bytes) -> bool:
        key = entry.partition(b":")[0].lower()
        return entry.lower() in unwanted or (isinstance(control, Map) and key in unwanted)

    def plan(site: Site, filesystem: Filesystem) -> list[Change]:
        content = content_of(site, filesystem, control)
        left = without_lines(content, drops)
        if left is None or left == content:
            raise not_found(f"{name}: {' '.join(redact_words(name, values))}", ("eqmail", "config", "show", name))
        return written(site, filesystem, control, left)

    return carry_out_changes(context, change, reload, plan)


def _list(name: str) -> Control[Any]:
    control = declaration(name)
    if not isinstance(control, Lines | Map):
        raise usage_error(f"{name} is no list but one value ({control.kind}); use: eqmail config set {name}")
    return control


VERBS = (add, remove)
