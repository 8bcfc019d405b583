"""Shared parts of every change of a setting: validation, the change, and the reload of services.

Fails: Refusal for what no program would take.
"""

import os
from collections.abc import Callable
from typing import Any

import click

from eqmail_core.control.controls import Controls
from eqmail_core.control.setting import Control
from eqmail_core.site.site import Site
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.options import ChangeOptions
from eqmail_setup.cli.output import confirm, is_interactive
from eqmail_setup.errors import EqmailError, usage_error
from eqmail_setup.settings.editor import declaration, plan_compile, plan_write, require_settable
from eqmail_setup.settings.units import expected_text, file_text
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.plan import Change


def carry_out_changes(
    context: click.Context,
    change: ChangeOptions,
    reload: bool,
    plan: Callable[[Site, Filesystem], list[Change]],
) -> int:
    """Carry out a change of settings, then say what running services have to do about it."""
    site = require_installation(context)
    execute(context, site, change, lambda world: plan(site, world), reload=reload)
    return 0


def written(site: Site, filesystem: Filesystem, control: Control[Any], content: bytes) -> list[Change]:
    """Actions after which a control file has this content, and its database, if it has one, the same."""
    require_settable(control)
    found = plan_write(site, filesystem, control, content)
    if control is Controls.morercpthosts:
        found += plan_compile(site, filesystem, content)
    return found


def demand_no_key(control: Control[Any]) -> None:
    """Refuse to take keys and certificates as words of a command line, which every user of the host can read."""
    if control is Controls.servercert:
        raise usage_error(f"{control.file} holds a key; put it there with: eqmail cert install CHAIN KEY")
    if control.file.endswith(".pem"):
        raise usage_error(f"{control.file} is a file of keys and certificates; copy it there as it is")


def settable(name: str) -> Control[Any]:
    """The setting of a name, if it is one that is written as it is."""
    control = declaration(name)
    require_settable(control)
    return control


_NEEDED = {
    Controls.me.file: "every program takes the name of this host from it",
    Controls.rcpthosts.file: "without it the SMTP server relays for everybody",
}
"""Settings whose absence harms, and how."""


def confirm_unset(controls: list[Control[Any]], change: ChangeOptions) -> None:
    """Ask before settings are removed that an installation needs.

    Fails: EqmailError for no, and without a terminal.
    """
    for control in controls:
        reason = _NEEDED.get(control.file)
        if reason is None or change.yes:
            continue
        if not is_interactive():
            raise EqmailError(f"{control.file}: {reason}; confirm its removal with --yes")
        if not confirm(f"{control.file}: {reason}. Remove it?"):
            raise EqmailError("nothing was changed")


def in_units(control: Control[Any], value: str) -> str:
    """A value as its control file has it: 1 for on, seconds for 7d, bytes for 20M.

    Fails: EqmailError (usage) for what is no value of the setting.
    """
    made = file_text(control, value)
    if made is None:
        raise usage_error(f"{control.file}: {value!r} is not {expected_text(control)}")
    return made


def one_line(value: str) -> bytes:
    """A value as a line of a control file, without its end."""
    if "\n" in value:
        # Not the value: it may be a key or a password.
        raise usage_error("a value has more than one line; give each line as a value of its own")
    return os.fsencode(value)
