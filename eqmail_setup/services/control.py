"""The commands by which each service manager starts, stops, restarts, reloads and removes what it runs; one row each.

Fails: EqmailError for what a manager cannot do, and for a command that is missing or fails.
"""

import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from typing import NamedTuple

from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError
from eqmail_setup.services.activation import service_folders
from eqmail_setup.services.compose import compose
from eqmail_setup.services.definitions import MTA, SERVICES
from eqmail_setup.services.managers import MANAGERS, ServiceFile
from eqmail_setup.services.options import ServiceOptions
from eqmail_setup.services.state import InstalledServices

ACTIONS = ("start", "stop", "restart", "reload", "status")
TIMEOUT_S = 600
SYSLOG_FILES = ("/var/log/mail.log", "/var/log/maillog", "/var/log/syslog", "/var/log/messages")


class ManagerCommands(NamedTuple):
    """Command lines of one manager.

    {each}: one command for each service folder; {units}: all units; {main}: the unit of the MTA, or all units;
    {name}, {scanned}, {stop_s}: values. `remove` ends supervision after the files are gone; `logs` prints the last
    {lines} lines, empty where the log is a file.
    """

    start: tuple[str, ...]
    stop: tuple[str, ...]
    restart: tuple[str, ...]
    reload: tuple[str, ...]
    status: tuple[str, ...]
    remove: tuple[str, ...] = ()
    after_removal: tuple[str, ...] = ()
    logs: str = ""
    follow: str = ""


_SYSV = ManagerCommands(
    start=("service {name} start",),
    stop=("service {name} stop",),
    restart=("service {name} restart",),
    reload=("service {name} reload",),
    status=("service {name} status",),
    after_removal=("update-rc.d {name} remove",),
)
_XINETD = ("service xinetd restart",)
COMMANDS = {
    "systemd": ManagerCommands(
        start=("systemctl start {units}",),
        stop=("systemctl stop {units}",),
        restart=("systemctl restart {main}",),
        reload=("systemctl reload {main}",),
        status=("systemctl --no-pager --lines=0 status {units}",),
        remove=("systemctl disable --now {units}",),
        after_removal=("systemctl daemon-reload",),
        logs="journalctl --no-pager --unit {main} --lines {lines}",
        follow="journalctl --unit {main} --lines {lines} --follow",
    ),
    "openrc": ManagerCommands(
        start=("rc-service {name} start",),
        stop=("rc-service {name} stop",),
        restart=("rc-service {name} restart",),
        reload=("rc-service {name} reload",),
        status=("rc-service {name} status",),
        remove=("rc-update del {name}",),
    ),
    "sysv": _SYSV,
    "runit": ManagerCommands(
        start=("sv up {each}",),
        stop=("sv -w {stop_s} down {each}",),
        restart=("sv -w {stop_s} restart {each}",),
        reload=("sv hup {each}",),
        status=("sv status {each}",),
        after_removal=("sv exit {each}",),
    ),
    "daemontools": ManagerCommands(
        start=("svc -u {each}",),
        stop=("svc -d {each}",),
        restart=("svc -t {each}",),
        reload=("svc -h {each}",),
        status=("svstat {each}",),
        after_removal=("svc -dx {each} {each}/log",),
    ),
    "s6": ManagerCommands(
        start=("s6-svc -u {each}",),
        stop=("s6-svc -wD -T {stop_ms} -d {each}",),
        restart=("s6-svc -r {each}",),
        reload=("s6-svc -h {each}",),
        status=("s6-svstat {each}",),
        after_removal=("s6-svscanctl -an {scanned}",),
    ),
    "xinetd": ManagerCommands(
        start=_XINETD,
        stop=(),
        restart=_XINETD,
        reload=_XINETD,
        status=("service xinetd status",),
        after_removal=_XINETD,
    ),
}
"""By the name of the manager."""


def files_of(site: Site, installed: InstalledServices) -> list[ServiceFile]:
    """The files that belong to a record, as they would be generated now."""
    options = ServiceOptions(installed.options, tuple(SERVICES))
    return compose(MANAGERS[installed.manager], site, options, installed.services, installed=False)


def command_lines(action: str, manager: str, pieces: list[ServiceFile]) -> list[list[str]]:
    """The commands of one action: a field of ManagerCommands.

    Fails: EqmailError for an action that the manager does not have.
    """
    lines: tuple[str, ...] = getattr(COMMANDS[manager], action)
    if not lines and action in ACTIONS:
        raise EqmailError(f"{manager}: starts programs for each connection; to stop that, use: eqmail service remove")
    return [words for line in lines for words in _filled(line, pieces)]


def log_command(manager: str, pieces: list[ServiceFile], lines: int, follow: bool) -> list[str]:
    """The command that prints the end of the log.

    Fails: EqmailError where no log is found.
    """
    row = COMMANDS[manager]
    line = row.follow if follow else row.logs
    if line:
        return _filled(line.replace("{lines}", str(lines)), pieces)[0]
    path = log_file(manager, pieces)
    return ["tail", "-n", str(lines), *(["-F"] if follow else []), path]


def log_file(manager: str, pieces: list[ServiceFile]) -> str:
    """The file in which the log of the MTA is, below supervisors and with syslog."""
    values = pieces[0].values
    if MANAGERS[manager].tools:
        return f"{values.logdir}/{values.name}-{SERVICES[MTA].daemon}/current"
    for path in SYSLOG_FILES:
        if os.path.exists(path):
            return path
    raise EqmailError(f"no log file of syslog found: {', '.join(SYSLOG_FILES)}")


def run_commands(lines: Iterable[list[str]], on_command: Callable[[str], None]) -> None:
    """Run commands in order, reporting each before it runs.

    Fails: EqmailError at the first that is missing or fails, with its output.
    """
    for words in lines:
        on_command(shlex.join(words))
        # Into a file: a started service may keep a pipe open forever.
        with tempfile.TemporaryFile() as output:
            try:
                code = subprocess.call(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=TIMEOUT_S)
            except (OSError, subprocess.TimeoutExpired) as error:
                raise EqmailError(f"{shlex.join(words)}: {error}") from error
            output.seek(0)
            said = output.read().decode("utf-8", "replace").strip().splitlines()
        if code:
            raise EqmailError(f"{shlex.join(words)}: {said[-1] if said else f'exit code {code}'}")


def unit_names(pieces: Iterable[ServiceFile]) -> list[str]:
    """The units of systemd that can be started, or the names of scripts."""
    return [piece.short for piece in pieces if piece.template and piece.short and "@" not in piece.short]


def _filled(line: str, pieces: list[ServiceFile]) -> list[list[str]]:
    values, units = pieces[0].values, unit_names(pieces)
    main = f"{values.name}.service"
    words = {
        "name": shlex.quote(values.name),
        "scanned": shlex.quote(values.scanned),
        "stop_s": str(values.stop_timeout),
        "stop_ms": str(values.stop_timeout * 1000),
        "units": shlex.join(units),
        "main": main if main in units else shlex.join(units),
    }
    if "{each}" not in line:
        return [shlex.split(line.format(**words))]
    return [shlex.split(line.format(**words, each=shlex.quote(folder))) for folder in service_folders(pieces)]
