"""`eqmail config`: show and change settings; what there is to set comes from the declarations.

Long because it is a list: a dozen verbs, each with its options, its help and its examples.
"""

import json
import os
from collections.abc import Callable
from typing import Any

import click

from eqmail_core.control.declared import Controls
from eqmail_core.control.kinds import Control, ControlError, Lines, Map
from eqmail_core.system.files import read_file
from eqmail_core.system.installation import read_controls
from eqmail_core.values.site import Site
from eqmail_setup.control_files import (
    compiling,
    content_of,
    declared,
    demand_settable,
    unsetting,
    with_lines,
    without_lines,
    writing,
)
from eqmail_setup.opened import demand_installation
from eqmail_setup.plan import Difference
from eqmail_setup.refusal import DIFFERS, Refusal, usage
from eqmail_setup.reloading import moments, reload_services, wanted_by_running
from eqmail_setup.undertaking import Manner, carry_out, staging
from eqmail_setup.whither import text
from eqmail_setup.world import World

_SECRET = (".pem", ".cdb")
_reload = click.option("--reload", is_flag=True, help="Make running services read it.")


@click.group("config")
def command() -> None:
    """Show and change settings. A setting has the name of its control file.

    \b
    Examples:
      eqmail config show -n
      eqmail config explain rcpthosts
      eqmail config set databytes 20000000 --reload
    """


@command.command("show")
@click.argument("name", required=False)
@click.option("-n", "own", is_flag=True, help="Only what was set, not what is default.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@click.pass_context
def show(context: click.Context, name: str | None, own: bool, as_json: bool) -> int:
    """Show all settings with their values, or explain the one called NAME.

    \b
    Examples:
      eqmail config show -n
      eqmail config show --json
    """
    site = demand_installation(context)
    if name is not None and not as_json:
        _explain(site, declared(name))
        return 0
    values, found = read_controls(site), {}
    for key, control in Controls.declared().items():
        exists = os.path.exists(f"{site.control}/{control.file}")
        if (own and not exists) or name not in (None, control.file):
            continue
        found[control.file] = {"value": _value(values, key, control), "set": exists}
        if not as_json:
            click.echo(f"{control.file}: {_shown(values, key, control)}{'' if exists else '  (default)'}")
    if as_json:
        click.echo(json.dumps(found, indent=1))
    return 0


@command.command("explain")
@click.argument("name")
@click.pass_context
def explain(context: click.Context, name: str) -> int:
    """Tell what the setting NAME means, what it is, who reads it and when a change is in force.

    \b
    Examples:
      eqmail config explain virtualdomains
    """
    _explain(demand_installation(context), declared(name))
    return 0


@command.command("get")
@click.argument("name")
@click.pass_context
def get(context: click.Context, name: str) -> int:
    """Print the bytes of one control file; exit 3 where it does not exist.

    \b
    Examples:
      eqmail config get rcpthosts
    """
    site = demand_installation(context)
    control = declared(name)
    content = read_file(f"{site.control}/{control.file}")
    if content is None:
        raise Refusal(f"{site.control}/{control.file}: does not exist; the default is in force")
    click.echo(content, nl=False)
    return 0


@command.command("set")
@click.argument("name")
@click.argument("values", nargs=-1)
@click.option("--unset", "take_away", is_flag=True, help="Remove the file, so that the default is in force.")
@_reload
@staging
@click.pass_context
def set_(
    context: click.Context, name: str, values: tuple[str, ...], take_away: bool, reload: bool, manner: Manner
) -> int:
    """Write one control file: each VALUE is one line. Refuses what a program could not use.

    \b
    Examples:
      eqmail config set concurrencyremote 100
      eqmail config set rcpthosts example.org .example.org --diff
    """
    control = _settable(name)
    if take_away == bool(values):
        raise usage(f"give values for {name}, or --unset")
    if take_away:
        return _do(context, manner, reload, [control], lambda site, world: unsetting(site, world, control))
    content = b"".join(os.fsencode(_one_line(value)) + b"\n" for value in values)
    return _do(context, manner, reload, [control], lambda site, world: _written(site, world, control, content))


@command.command("add")
@click.argument("name")
@click.argument("values", nargs=-1, required=True)
@_reload
@staging
@click.pass_context
def add(context: click.Context, name: str, values: tuple[str, ...], reload: bool, manner: Manner) -> int:
    """Add lines to a list, as far as it has not got them; all other lines stay as they are.

    \b
    Examples:
      eqmail config add badmailfrom @spam.example
      eqmail config add relayclients 192.0.2.0/24 --reload
    """
    control = _list(name)
    lines = [os.fsencode(_one_line(value)) for value in values]

    def plan(site: Site, world: World) -> list[Difference]:
        content = content_of(site, world, control)
        if content is None and control.falls_back_to_me:
            # Without the file its value is the name of the host, which one more line must not take away.
            me = read_controls(site).me
            content = me + b"\n" if me else None
        return _written(site, world, control, with_lines(content, lines))

    return _do(context, manner, reload, [control], plan)


@command.command("remove")
@click.argument("name")
@click.argument("values", nargs=-1, required=True)
@_reload
@staging
@click.pass_context
def remove(context: click.Context, name: str, values: tuple[str, ...], reload: bool, manner: Manner) -> int:
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

    def plan(site: Site, world: World) -> list[Difference]:
        content = content_of(site, world, control)
        left = without_lines(content, drops)
        return [] if left is None or left == content else _written(site, world, control, left)

    return _do(context, manner, reload, [control], plan)


@command.command("unset")
@click.argument("names", nargs=-1, required=True)
@_reload
@staging
@click.pass_context
def unset(context: click.Context, names: tuple[str, ...], reload: bool, manner: Manner) -> int:
    """Remove control files, so that the defaults are in force.

    \b
    Examples:
      eqmail config unset databytes timeoutremote
    """
    controls = [declared(name) for name in names]
    return _do(
        context,
        manner,
        reload,
        controls,
        lambda site, world: [item for control in controls for item in unsetting(site, world, control)],
    )


@command.command("edit")
@click.argument("name")
@_reload
@staging
@click.pass_context
def edit(context: click.Context, name: str, reload: bool, manner: Manner) -> int:
    """Edit one control file with $EDITOR; what a program could not use is refused, and the file stays.

    \b
    Examples:
      EDITOR=vi eqmail config edit smtproutes --reload
    """
    control = _settable(name)
    site = demand_installation(context)
    before = read_file(f"{site.control}/{control.file}") or b""
    after = click.edit(before.decode("utf-8", "surrogateescape"), require_save=True, extension=f".{control.file}")
    content = before if after is None else after.encode("utf-8", "surrogateescape")
    return _do(
        context,
        manner,
        reload,
        [control],
        lambda site, world: [] if content == before else _written(site, world, control, content),
    )


@command.command("export")
@click.pass_context
def export(context: click.Context) -> int:
    """Print every setting that was made as JSON, without keys and compiled files.

    \b
    Examples:
      eqmail config export > settings.json
    """
    site, found = demand_installation(context), {}
    for control in Controls.declared().values():
        content = None if control.file.endswith(_SECRET) else read_file(f"{site.control}/{control.file}")
        if content is not None:
            found[control.file] = content.decode("utf-8", "surrogateescape")
    click.echo(json.dumps(found, indent=1))
    return 0


@command.command("import")
@click.argument("file", type=click.File("rb"))
@_reload
@staging
@click.pass_context
def import_(context: click.Context, file: Any, reload: bool, manner: Manner) -> int:
    """Write the settings of a JSON FILE that export made (- for standard input); others stay as they are.

    \b
    Examples:
      eqmail config import settings.json --diff
    """
    try:
        made = json.loads(file.read())
        contents = {declared(name): str(made[name]).encode("utf-8", "surrogateescape") for name in made}
    except (ValueError, TypeError) as error:
        raise usage(f"{file.name}: is not what export makes ({error})") from error
    return _do(
        context,
        manner,
        reload,
        list(contents),
        lambda site, world: [
            item for control, content in contents.items() for item in _written(site, world, control, content)
        ],
    )


@command.command("schema")
def schema() -> int:
    """Print a JSON schema of all settings.

    \b
    Examples:
      eqmail config schema > settings.schema.json
    """
    from eqmail_setup.models import ControlsModel

    click.echo(json.dumps(ControlsModel.model_json_schema(), indent=1))
    return 0


@command.command("lint")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@click.pass_context
def lint(context: click.Context, as_json: bool) -> int:
    """Say what is wrong with the settings; exit 1 if anything is.

    \b
    Examples:
      eqmail config lint
    """
    from eqmail_setup.models import remarks_on
    from eqmail_setup.plan import Weight

    site = demand_installation(context)
    remarks = remarks_on(site)
    if as_json:
        rows = [{**remark._asdict(), "weight": remark.weight.name.lower()} for remark in remarks]
        click.echo(json.dumps(rows, indent=1))
    else:
        for remark in remarks:
            click.echo(f"{site.control}/{remark.file}: {remark.found}, {remark.weight.value} {remark.wanted}")
    return DIFFERS if any(remark.weight is Weight.WRONG for remark in remarks) else 0


def _do(
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


def _written(site: Site, world: World, control: Control[Any], content: bytes) -> list[Difference]:
    demand_settable(control)
    found = writing(site, world, control, content)
    if control is Controls.morercpthosts:
        found += compiling(site, world, content)
    return found


def _settable(name: str) -> Control[Any]:
    control = declared(name)
    demand_settable(control)
    return control


def _list(name: str) -> Control[Any]:
    control = declared(name)
    if not isinstance(control, Lines | Map):
        raise usage(f"{name} is a {control.kind} and no list; use: eqmail config set {name}")
    return control


def _one_line(value: str) -> str:
    if "\n" in value:
        raise usage(f"{value!r} is more than one line; give each line as a value of its own")
    return value


def _explain(site: Site, control: Control[Any]) -> None:
    key = next(key for key, item in Controls.declared().items() if item is control)
    click.echo(f"{control.file} ({control.kind}): {control.manual}")
    click.echo(f"value: {_shown(read_controls(site), key, control)}")
    click.echo(f"file: {site.control}/{control.file}")
    click.echo(f"read by: {', '.join(control.used_by) or 'nobody'}")
    if control.env:
        click.echo(f"overridden by: the environment variable {control.env}")
    click.echo(f"in force: {moments(control)}")


def _shown(values: Controls, key: str, control: Control[Any]) -> str:
    try:
        value = getattr(values, key)
    except ControlError as error:
        return f"cannot be read ({error.error.strerror})"
    if control.kind == "file":
        return "absent" if value is None else f"{len(value)} bytes"
    if isinstance(value, dict):
        return "; ".join(f"{text(left)}:{text(right).split(' ', 1)[0]}" for left, right in value.items())
    if isinstance(value, list):
        return " ".join(map(text, value))
    return "none" if value is None else text(value) if isinstance(value, bytes) else str(value)


def _value(values: Controls, key: str, control: Control[Any]) -> object:
    """A value as JSON has it; a whole file as its size, and passwords not at all."""
    try:
        value = getattr(values, key)
    except ControlError:
        return None
    if isinstance(value, dict):
        return {text(left): text(right).split(" ", 1)[0] for left, right in value.items()}
    if isinstance(value, list):
        return [text(item) for item in value]
    return _shown(values, key, control) if isinstance(value, bytes) else value
