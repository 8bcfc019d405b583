"""Shared parts of the gen-* commands: choose services, render their files, print or write them."""

import os
import sys
import textwrap
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from eqmail_core.site.site_file import SITE_FILE
from eqmail_setup.cli.context import load_or_propose
from eqmail_setup.cli.execute import change_value, execute, print_plan, report
from eqmail_setup.cli.options import ChangeOptions, RenamedOption, change_options
from eqmail_setup.cli.output import print_json
from eqmail_setup.errors import EqmailError, not_installed, usage_error
from eqmail_setup.installation.lock import LOCK, locked
from eqmail_setup.installation.trust import demand_trusted_tree

if TYPE_CHECKING:
    from eqmail_core.site.site import Site
    from eqmail_setup.services.managers import ServiceFile, ServiceManager
    from eqmail_setup.services.state import InstalledServices
    from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
    from eqmail_setup.transaction.filesystem import Filesystem
    from eqmail_setup.transaction.plan import Change


def gen_command(name: str, what: str, managers: tuple[str, ...] = ()) -> click.Command:
    """The command `eqmail gen-NAME`; with `managers`, --type chooses one, else it is the first."""

    @click.command(f"gen-{name}", help=_help(name, what))
    @click.option("--service", "services", metavar="NAME", multiple=True, help="What to run; may be given again.")
    @click.option("--set", "pairs", metavar="KEY=VALUE", multiple=True, help="A setting; --settings lists all.")
    @click.option("--settings", "ask", is_flag=True, help="List what --set can set, and do nothing else.")
    @click.option("--forget", is_flag=True, help="Ignore the options that the installed files were generated with.")
    @click.option("--output", metavar="DIR", help="Write the files below DIR, owned by the caller.")
    @click.option("--install", is_flag=True, help="Write the files into the system's places.")
    @click.option("--start", is_flag=True, help="With --install: start it, too, and at every boot.")
    @click.option(
        "--root", metavar="DIR", default="", help="With --install: stage below DIR; a manifest keeps the owners."
    )
    @click.option(
        "--templates", metavar="DIR", default="", help="Templates in DIR go before those of the same name here."
    )
    @change_options
    @click.pass_context
    def command(
        context: click.Context,
        change: ChangeOptions,
        services: tuple[str, ...],
        pairs: tuple[str, ...],
        ask: bool,
        forget: bool,
        output: str | None,
        install: bool,
        start: bool,
        root: str,
        templates: str,
        manager: str = name,
    ) -> int:
        return generate(context, change, services, pairs, ask, forget, output, install, start, root, templates, manager)

    if managers:
        kinds = click.Choice(managers)
        option = click.option(
            "--type",
            "manager",
            cls=RenamedOption,
            former=["--flavour"],
            type=kinds,
            default=managers[0],
            show_default=True,
            metavar="NAME",
            help=f"{' or '.join(managers)}.",
        )
        command = option(command)
    return command


def _help(name: str, what: str) -> str:
    return f"""Make the files with which {what}.

    Without --output or --install the files are printed, and nothing is written. What an administrator edited is kept
    and named; a second run has nothing to do.

    \b
    Examples:
      eqmail gen-{name}
      eqmail gen-{name} --install --diff
      eqmail gen-{name} --set name=mail --output ./files
    """


def generate(
    context: click.Context,
    change: ChangeOptions,
    services: tuple[str, ...],
    pairs: tuple[str, ...],
    ask: bool,
    forget: bool,
    output: str | None,
    install: bool,
    begin: bool,
    root: str,
    templates: str,
    manager_name: str,
) -> int:
    """Generate the files of one service manager: print, write to a folder, stage or install them."""
    from eqmail_setup.services.activation import next_steps, require_startable, start
    from eqmail_setup.services.compose import compose
    from eqmail_setup.services.definitions import SERVICES
    from eqmail_setup.services.managers import MANAGERS
    from eqmail_setup.services.options import ServiceOptions, option_of
    from eqmail_setup.services.state import InstalledServices, find_services, load_services, merged_options
    from eqmail_setup.transaction.transaction import filesystem_for

    manager = MANAGERS[manager_name]
    if ask:
        return _list_settings(context, manager, services, change.as_json)
    for service in services:
        if service not in SERVICES:
            raise usage_error(f"--service {service}: there are {', '.join(SERVICES)}")
    if output is not None and (install or root):
        raise usage_error("--output and --install exclude each other")
    if root and not install:
        raise usage_error("--root belongs to --install")
    if begin and (root or not install):
        raise usage_error("--start belongs to --install, and starts nothing below another root")
    if templates and not os.path.isdir(templates):
        raise usage_error(f"--templates {templates}: is no folder")
    root = os.path.abspath(root) if root else ""
    site, where = _found(context, root)
    ServiceOptions(pairs, tuple(SERVICES))  # refuses invalid options before they are merged
    installed = [] if forget else load_services(site, filesystem_for(site, where))
    remembered = find_services(installed, manager_name, option_of(pairs, "name"))
    options = merged_options(remembered.options if remembered else (), pairs)
    services = services or (remembered.services if remembered else ())
    if remembered and remembered.options and set(remembered.options) - set(pairs):
        kept = " ".join(sorted(set(remembered.options) & set(options) - set(pairs)))
        if kept:
            click.echo(f"eqmail: note: options of the installed files: {kept} (--forget ignores them)", err=True)
    pieces = compose(manager, site, ServiceOptions(options, tuple(SERVICES)), services, where)
    chosen = tuple(dict.fromkeys(services or manager.default_services))
    entry = InstalledServices(manager_name, pieces[0].values.name, chosen, options)
    templates = os.path.abspath(templates) if templates else ""
    if templates and os.geteuid() == 0:
        demand_trusted_tree(templates, "what root runs")
    if output is not None:
        _into_folder(os.path.abspath(output), pieces, templates, change)
    elif install or change.preview_only:
        if begin and not change.preview_only:
            require_startable(manager, pieces)
        _into_system(context, site, manager if begin else None, pieces, templates, change, root, entry, remembered)
        if change.preview_only or root:
            return 0
        if begin:
            start(manager, pieces, lambda step: click.echo(step, err=change.as_json))
        elif not change.as_json:
            click.echo("to begin:")
            for step in next_steps(manager, pieces):
                click.echo(f"  {step}")
    else:
        _print(pieces, templates, change.as_json)
    return 0


def _found(context: click.Context, root: str) -> "tuple[Site, str]":
    """The installation and its root: the staging root if it has one, else the real one."""
    for place in dict.fromkeys((root, "")):
        opened = load_or_propose(context, root=place)
        if opened.before is not None:
            return opened.before, place
    home = opened.site.home
    raise not_installed(home)


def _list_settings(context: click.Context, manager: "ServiceManager", services: tuple[str, ...], as_json: bool) -> int:
    from eqmail_setup.services.compose import effective_options
    from eqmail_setup.services.definitions import SERVICES
    from eqmail_setup.services.options import ServiceOptions

    none = ServiceOptions((), tuple(SERVICES))
    found = effective_options(manager, load_or_propose(context).site, none, services)
    if as_json:
        keys = ("option", "value", "manual")
        print_json("service-settings-1", settings=[dict(zip(keys, row, strict=True)) for row in found])
        return 0
    for key, value, text in found:
        click.echo(f"{key}={value}")
        click.echo(textwrap.indent(textwrap.fill(text, 100), "    "))
    return 0


def _print(pieces: "list[ServiceFile]", templates: str, as_json: bool) -> None:
    from eqmail_setup.services.manifest import content

    files = [(piece, content(piece, templates).decode()) for piece in pieces if piece.template]
    if as_json:
        values = [{"path": piece.path, "mode": f"{piece.mode:04o}", "content": text} for piece, text in files]
        print_json("service-files-1", files=values)
        return
    for piece, text in files:
        click.echo(f"==> {piece.path} ({piece.mode:04o}) <==\n{text}")


def _into_system(
    context: click.Context,
    site: "Site",
    linked_for: "ServiceManager | None",
    pieces: "list[ServiceFile]",
    templates: str,
    change: ChangeOptions,
    root: str,
    entry: "InstalledServices",
    remembered: "InstalledServices | None",
) -> None:
    from eqmail_setup.services.activation import plan_links
    from eqmail_setup.services.manifest import in_place
    from eqmail_setup.services.state import lost_listeners, plan_records
    from eqmail_setup.transaction.plan import compare_with_manifest
    from eqmail_setup.transaction.staged_filesystem import StagedFilesystem

    def plan(filesystem: "Filesystem") -> "list[Change]":
        found = compare_with_manifest(in_place(pieces, templates, site, filesystem), filesystem)
        if not change.preview_only:
            _confirm_loss(lost_listeners(pieces, remembered, filesystem), change)
        if filesystem.stat(SITE_FILE) is not None:  # else only the service files are staged
            found += plan_records(site, filesystem, [entry])
        return [*found, *plan_links(linked_for, pieces, filesystem)] if linked_for else found

    if root:
        os.makedirs(root, exist_ok=True)
        _write(StagedFilesystem(site.home, root), plan, change, f"{root}/{LOCK}")
    else:
        execute(context, site, change, plan)


def _confirm_loss(lost: list[str], change: ChangeOptions) -> None:
    """Ask before listeners disappear.  Fails: EqmailError for no, and without a terminal."""
    if not lost or change.yes:
        return
    text = f"clients could no longer connect to: {' '.join(lost)}"
    if change.as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise EqmailError(f"{text}; name these services too, or confirm with --yes")
    if not click.confirm(f"eqmail: {text}. Continue?", err=True):
        raise EqmailError("nothing was changed")


def _into_folder(folder: str, pieces: "list[ServiceFile]", templates: str, change: ChangeOptions) -> None:
    from eqmail_setup.services.manifest import in_folder
    from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
    from eqmail_setup.transaction.plan import compare_with_manifest

    _write(DiskFilesystem(folder), lambda world: compare_with_manifest(in_folder(pieces, templates), world), change, "")


def _write(
    filesystem: "DiskFilesystem", plan: "Callable[[Filesystem], list[Change]]", change: ChangeOptions, lock: str
) -> None:
    """Plan and apply in a world that has no history; every file is put in place as a whole."""
    from eqmail_setup.transaction.plan import Plan, apply_changes

    if change.preview_only:
        print_plan(plan(filesystem), filesystem, change.as_json, change.diff, change.verbose)
        return
    with locked(lock) if lock else nullcontext():
        found = Plan.of(plan(filesystem))
        found.require_possible()
        done = [operation.describe(filesystem) for operation in found.operations]
        values = [change_value(operation, filesystem) for operation in found.operations] if change.as_json else []
        apply_changes(found.changes, filesystem, lambda operation: None)
        filesystem.sync()
    report(filesystem.display_path(""), 0, done, found.notes, change, values)
