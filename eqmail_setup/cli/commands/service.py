"""`eqmail service`: install, start, stop, restart and inspect the services, by whatever service manager runs them."""

import os
import subprocess

import click

from eqmail_core.service.record import read_record
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.options import ChangeOptions, change_options, json_option
from eqmail_setup.cli.output import Column, command_text, confirm, echo, is_interactive, print_json, print_table
from eqmail_setup.errors import EqmailError, not_found, permission_required, usage_error
from eqmail_setup.settings.reload import reload_services, running_pid

_SERVICE_COLUMNS = ("SERVICE", "MANAGER", "LISTENS ON", "STATE")
_PROCESS_COLUMNS = ("PROCESS", Column("PID", right=True), "STATE", "SINCE", Column("RESTARTS", right=True), "REASON")


@click.group("service")
def command() -> None:
    """Manage the services: install, start, stop, restart, reload, inspect and remove them.

    Works with systemd, OpenRC, SysV init, runit, s6, daemontools and xinetd: eqmail remembers which one was chosen.

    \b
    Examples:
      eqmail service list
      eqmail service restart
      eqmail service logs -n 50
    """


@command.command("list")
@json_option
@click.pass_context
def list_(context: click.Context, as_json: bool) -> int:
    """List the installed services with their listeners and state.

    \b
    Examples:
      eqmail service list --json
    """
    from eqmail_setup.services.overview import service_states

    site = require_installation(context)
    states = service_states(site)
    if as_json:
        print_json("services-1", running=bool(running_pid(site)), services=[it._asdict() for it in states])
        return 0
    print_table(_SERVICE_COLUMNS, [(it.service, it.manager, " ".join(it.listeners) or "-", it.state) for it in states])
    return 0


@command.command("show")
@click.argument("manager", required=False)
@json_option
@click.pass_context
def show(context: click.Context, manager: str | None, as_json: bool) -> int:
    """Show the options and files of the installed services.

    \b
    Examples:
      eqmail service show
      eqmail service show xinetd --json
    """
    from eqmail_setup.services.compose import effective_options
    from eqmail_setup.services.definitions import SERVICES
    from eqmail_setup.services.managers import MANAGERS
    from eqmail_setup.services.options import ServiceOptions
    from eqmail_setup.services.overview import find_installed

    site = require_installation(context)
    found = []
    for entry, pieces in find_installed(site, manager):
        options = ServiceOptions(entry.options, tuple(SERVICES))
        values = effective_options(MANAGERS[entry.manager], site, options, entry.services)
        files = [piece.path for piece in pieces if piece.template]
        found.append((entry, values, files))
    if as_json:
        print_json(
            "service-options-1",
            installed=[
                {**entry._asdict(), "in_force": {key: value for key, value, _ in values}, "files": files}
                for entry, values, files in found
            ],
        )
        return 0
    for entry, values, files in found:
        echo(f"Manager   {entry.manager}, services named {entry.name}")
        echo(f"Services  {' '.join(entry.services)}")
        chosen = {pair.partition("=")[0].rpartition(".")[2] for pair in entry.options}
        print_table(
            ("OPTION", "VALUE", "ORIGIN"),
            [(key, value, "set" if key in chosen else "default") for key, value, _ in values],
        )
        for path in files:
            echo(f"File      {path}")
    return 0


@command.command("install")
@click.option(
    "--manager", metavar="NAME", help="systemd, openrc, sysv, runit, s6, daemontools or xinetd; else detected."
)
@click.option("--service", "services", metavar="NAME", multiple=True, help="What to run; may be given again.")
@click.option(
    "--set", "pairs", metavar="KEY=VALUE", multiple=True, help="An option; see eqmail gen-systemd --settings."
)
@click.option("--forget", is_flag=True, help="Ignore the options that the installed files were generated with.")
@click.option("--no-start", is_flag=True, help="Write the files only.")
@change_options
@click.pass_context
def install(
    context: click.Context,
    change: ChangeOptions,
    manager: str | None,
    services: tuple[str, ...],
    pairs: tuple[str, ...],
    forget: bool,
    no_start: bool,
) -> int:
    """Generate the files of the service manager that runs here, and start the services.

    \b
    Examples:
      eqmail service install --dry-run
      eqmail service install --service mta --service smtp --set smtp.port=2525
    """
    from eqmail_setup.cli.commands.gen import generate
    from eqmail_setup.services.deployments import detected
    from eqmail_setup.services.managers import MANAGERS

    chosen = manager or detected()
    if chosen not in MANAGERS:
        raise usage_error(f"--manager {chosen}: not one of {', '.join(MANAGERS)}")
    starts = not (no_start or change.preview_only)
    return generate(context, change, services, pairs, False, forget, None, True, starts, "", "", chosen)


def _control(action: str, help: str) -> click.Command:
    """The command that runs one action of the service managers."""

    @click.command(action, help=f"{help}\n\n\b\nExamples:\n  eqmail service {action}\n")
    @click.argument("manager", required=False)
    @click.option("--dry-run", is_flag=True, help="Show the commands without running them.")
    @click.pass_context
    def control(context: click.Context, manager: str | None, dry_run: bool) -> int:
        from eqmail_setup.services.control import command_lines, run_commands
        from eqmail_setup.services.overview import find_installed

        site = require_installation(context)
        lines = []
        for entry, pieces in find_installed(site, manager):
            if entry.manager != "xinetd" or action != "stop":
                lines += command_lines(action, entry.manager, pieces)
        if dry_run:
            for words in lines:
                echo(command_text(tuple(words)))
            return 0
        run_commands(lines, echo)
        return 0

    return control


for _action, _help in (
    ("start", "Start the services by their service manager."),
    ("stop", "Stop the services; running deliveries are finished first."),
    ("restart", "Stop and start the services, which makes them read all settings."),
):
    command.add_command(_control(_action, _help))


@command.command("reload")
@click.pass_context
def reload(context: click.Context) -> int:
    """Make running services reread what they can without a restart.

    \b
    Examples:
      eqmail service reload
    """
    echo(reload_services(require_installation(context)))
    return 0


@command.command("status")
@click.option("--manager", "of_manager", is_flag=True, help="Also ask the service manager.")
@json_option
@click.pass_context
def status(context: click.Context, of_manager: bool, as_json: bool) -> int:
    """Show the state of each process; exit 3 if the services do not run.

    \b
    Examples:
      eqmail service status
    """
    from datetime import datetime

    from eqmail_setup.services.control import command_lines
    from eqmail_setup.services.overview import find_installed

    site = require_installation(context)
    pid = running_pid(site)
    record = read_record(site) if pid else []
    if as_json:
        processes = [{name: getattr(it, name) for name in type(it).__slots__} for it in record]
        print_json("service-status-1", running=bool(pid), pid=pid, processes=processes)
    elif pid:
        rows = [
            (
                it.name,
                str(it.pid or "-"),
                it.state,
                f"{datetime.fromtimestamp(it.since):%Y-%m-%d %H:%M:%S}",
                str(it.ends),
                it.reason,
            )
            for it in record
        ]
        print_table(_PROCESS_COLUMNS, rows, f"qmail-start runs as process {pid}")
    else:
        echo("Services are not running.")
    if of_manager:
        for entry, pieces in find_installed(site):
            for words in command_lines("status", entry.manager, pieces):
                echo(command_text(tuple(words)), err=as_json)
                subprocess.call(words)
    return 0 if pid else 3


@command.command("logs")
@click.option("-n", "--lines", type=click.IntRange(1), default=20, show_default=True, help="How many lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines as they come.")
@click.pass_context
def logs(context: click.Context, lines: int, follow: bool) -> int:
    """Print the end of the log of the services.

    \b
    Examples:
      eqmail service logs -n 100
      eqmail service logs -f
    """
    from eqmail_setup.services.control import log_command
    from eqmail_setup.services.overview import find_mta

    site = require_installation(context)
    entry, pieces = find_mta(site)
    words = log_command(entry.manager, pieces, lines, follow)
    if words[0] == "tail" and not os.access(words[-1], os.R_OK):
        if os.path.exists(words[-1]) or not os.access(os.path.dirname(words[-1]), os.X_OK):
            raise permission_required(f"{words[-1]}: the log of the services is readable for root only")
        raise not_found(words[-1], ("eqmail", "service", "status"))
    try:
        return subprocess.call(words)
    except OSError as error:
        raise EqmailError(f"{words[0]}: {error.strerror}") from error
    except KeyboardInterrupt:
        return 0


@command.command("remove")
@click.argument("manager", required=False)
@change_options
@click.pass_context
def remove(context: click.Context, change: ChangeOptions, manager: str | None) -> int:
    """Stop the services and remove their files; mail, settings and logs stay.

    \b
    Examples:
      eqmail service remove --dry-run
      eqmail service remove xinetd --yes
    """
    from eqmail_setup.services.control import COMMANDS, command_lines, run_commands
    from eqmail_setup.services.overview import find_installed
    from eqmail_setup.services.state import plan_removal

    site = require_installation(context)
    found = find_installed(site, manager)
    names = ", ".join(entry.manager for entry, _ in found)
    if not (change.preview_only or change.yes):
        if not is_interactive():
            raise EqmailError(f"removing the services of {names} has to be confirmed with --yes")
        if not confirm(f"Stop the services and remove their files ({names})?"):
            raise EqmailError("nothing was changed")
    for entry, pieces in found:
        if not change.preview_only:
            is_there = any(os.path.exists(piece.path) for piece in pieces if piece.template)
            before = command_lines("stop", entry.manager, pieces) if COMMANDS[entry.manager].stop and is_there else []
            run_commands([*before, *(command_lines("remove", entry.manager, pieces) if is_there else [])], echo)
        execute(context, site, change, lambda filesystem, e=entry, p=pieces: plan_removal(site, filesystem, e, p))  # type: ignore[misc]
        if not change.preview_only:
            run_commands(command_lines("after_removal", entry.manager, pieces), echo)
    return 0
