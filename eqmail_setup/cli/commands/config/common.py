"""What every change of a setting has in common: is it taken, is it made, and who has to hear of it.

Fails: Refusal for what no program would take.
"""

import os
from collections.abc import Callable
from typing import Any

import click

from eqmail_core.control.declared import Controls
from eqmail_core.control.setting import Control
from eqmail_core.site.site import Site
from eqmail_setup.errors import usage
from eqmail_setup.installation.loading import demand_installation
from eqmail_setup.settings.editor import compiling, declared, demand_settable, writing
from eqmail_setup.settings.reload import reload_services, wanted_by_running
from eqmail_setup.transaction.filesystem import World
from eqmail_setup.transaction.plan import Difference
from eqmail_setup.transaction.transaction import Manner, carry_out

reloading = click.option("--reload", is_flag=True, help="Make running services read it.")


def carry_out_changes(
    context: click.Context,
    manner: Manner,
    reload: bool,
    controls: list[Control[Any]],
    plan: Callable[[Site, World], list[Difference]],
) -> int:
    """Carry out a change of settings, then say what running services have to do about it."""
    site = demand_installation(context)
    number = carry_out(context, site, manner, lambda world: plan(site, world))
    if manner.only_look:
        return 0
    if reload:
        click.echo(reload_services(site), err=manner.as_json)
    elif number and not manner.as_json:
        said = wanted_by_running(control.file for control in controls)
        if said:
            click.echo(said)
    return 0


def written(site: Site, world: World, control: Control[Any], content: bytes) -> list[Difference]:
    """What has to be done so that a control file has this content, and its database, if it has one, the same."""
    demand_settable(control)
    found = writing(site, world, control, content)
    if control is Controls.morercpthosts:
        found += compiling(site, world, content)
    return found


def demand_no_key(control: Control[Any]) -> None:
    """Refuse to take keys and certificates as words of a command line, which every user of the host can read."""
    if control is Controls.servercert:
        raise usage(f"{control.file} holds a key; put it there with: eqmail cert install CHAIN KEY")
    if control.file.endswith(".pem"):
        raise usage(f"{control.file} is a file of keys and certificates; copy it there as it is")


def settable(name: str) -> Control[Any]:
    """The setting of a name, if it is one that is written as it is."""
    control = declared(name)
    demand_settable(control)
    return control


def one_line(value: str) -> bytes:
    """A value as a line of a control file, without its end."""
    if "\n" in value:
        # Not the value: it may be a key or a password.
        raise usage("a value has more than one line; give each line as a value of its own")
    return os.fsencode(value)
