"""`eqmail config`: show, get, set and lint settings; what there is to set comes from the declarations."""

import os
from typing import Any

import click

from eqmail_core.control.declared import Controls
from eqmail_core.control.kinds import Control, ControlError
from eqmail_core.system.files import read_file, write_atomically
from eqmail_core.system.installation import read_controls
from eqmail_core.values.site import Site
from eqmail_setup.opened import demand_installation
from eqmail_setup.refusal import DIFFERS, Refusal, usage


@click.group("config")
def command() -> None:
    """Show and change settings. A setting has the name of its control file."""


@command.command("show")
@click.argument("name", required=False)
@click.pass_context
def show(context: click.Context, name: str | None) -> int:
    """Show all settings with their values, or explain the one called NAME."""
    site = demand_installation(context)
    if name is not None:
        _explain(site, _declared(name))
        return 0
    values = read_controls(site)
    for key, control in Controls.declared().items():
        exists = os.path.exists(f"{site.control}/{control.file}")
        click.echo(f"{control.file}: {_shown(values, key, control)}{'' if exists else '  (default)'}")
    return 0


@command.command("get")
@click.argument("name")
@click.pass_context
def get(context: click.Context, name: str) -> int:
    """Print the bytes of one control file; exit 3 where it does not exist."""
    site = demand_installation(context)
    control = _declared(name)
    text = read_file(f"{site.control}/{control.file}")
    if text is None:
        raise Refusal(f"{site.control}/{control.file}: does not exist; the default is in force")
    click.echo(text, nl=False)
    return 0


@command.command("set")
@click.argument("name")
@click.argument("values", nargs=-1)
@click.option("--unset", is_flag=True, help="Remove the file, so that the default is in force.")
@click.option("--dry-run", is_flag=True, help="Only say whether the values are valid.")
@click.pass_context
def set_(context: click.Context, name: str, values: tuple[str, ...], unset: bool, dry_run: bool) -> int:
    """Write one control file: each VALUE is one line. Refuses what a program could not use."""
    site = demand_installation(context)
    control = _declared(name)
    path = f"{site.control}/{control.file}"
    if unset == bool(values):
        raise usage(f"give values for {name}, or --unset")
    if unset:
        if os.path.exists(path) and not dry_run:
            os.unlink(path)
        return 0
    text = b"".join(os.fsencode(value) + b"\n" for value in values)
    remarks = control.parse(text)[1]
    if remarks:
        raise usage(f"{name}: {'; '.join(remarks)}; eqmail config show {name} explains it")
    mode = os.stat(path).st_mode & 0o777 if os.path.exists(path) else 0o644
    if not dry_run:
        write_atomically(path, text, mode)
        os.chmod(path, mode)
    click.echo(_when(control))
    return 0


@command.command("lint")
@click.pass_context
def lint(context: click.Context) -> int:
    """Say what is wrong with the settings; exit 1 if anything is."""
    from eqmail_setup.models import remarks_on
    from eqmail_setup.plan import Weight

    site = demand_installation(context)
    remarks = remarks_on(site)
    for remark in remarks:
        click.echo(f"{site.control}/{remark.file}: {remark.found}, {remark.weight.value} {remark.wanted}")
    return DIFFERS if any(remark.weight is Weight.WRONG for remark in remarks) else 0


def _declared(name: str) -> Control[Any]:
    for control in Controls.declared().values():
        if control.file == name:
            return control
    raise usage(f"there is no setting {name!r}; eqmail config show lists all")


def _explain(site: Site, control: Control[Any]) -> None:
    key = next(key for key, item in Controls.declared().items() if item is control)
    click.echo(f"{control.file} ({control.kind}): {control.manual}")
    click.echo(f"value: {_shown(read_controls(site), key, control)}")
    click.echo(f"file: {site.control}/{control.file}")
    click.echo(f"read by: {', '.join(control.used_by) or 'nobody'}")
    if control.env:
        click.echo(f"overridden by: the environment variable {control.env}")
    click.echo(_when(control))


def _when(control: Control[Any]) -> str:
    return "in force: after HUP to qmail-send" if control.reload_on_hup else "in force: at the next start of its reader"


def _shown(values: Controls, key: str, control: Control[Any]) -> str:
    try:
        value = getattr(values, key)
    except ControlError as error:
        return f"cannot be read ({error.error.strerror})"
    if control.kind == "file":
        return "absent" if value is None else f"{len(value)} bytes"
    if isinstance(value, dict):
        return "; ".join(f"{_text(left)}:{_text(right).split(' ', 1)[0]}" for left, right in value.items())
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return "none" if value is None else _text(value) if isinstance(value, bytes) else str(value)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
