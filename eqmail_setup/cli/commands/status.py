"""`eqmail status`: services, listeners, queue, recent problems, certificate, and what is pending."""

import time
from collections.abc import Iterator
from datetime import datetime

import click

from eqmail_core.service.status import READY
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.options import json_option
from eqmail_setup.cli.output import Column, echo, print_hint, print_json, print_table, styled
from eqmail_setup.diagnostics.commands import start_command
from eqmail_setup.diagnostics.status import InstallationStatus, read_status
from eqmail_setup.errors import Command, ExitCode
from eqmail_setup.queue.presentation import age, display
from eqmail_setup.settings.reload import RELOAD_COMMAND, RESTART_COMMAND, RequiredAction

_COLUMNS = (
    Column("SERVICE", fixed=True),
    Column("PID", right=True),
    Column("STATE", fixed=True),
    Column("UPTIME", right=True),
    Column("RESTARTS", right=True),
    Column("LAST END"),
)
_ACTIONS: dict[RequiredAction, Command] = {
    RequiredAction.RELOAD: RELOAD_COMMAND,
    RequiredAction.RESTART: RESTART_COMMAND,
}
_CLEAR = "\x1b[H\x1b[2J"


@click.command("status")
@click.option("--watch", is_flag=True, help="Show it again every few seconds, until Ctrl-C.")
@click.option("--interval", type=click.FloatRange(0.1), default=2.0, show_default=True, help="Seconds between looks.")
@json_option
@click.pass_context
def command(context: click.Context, watch: bool, interval: float, as_json: bool) -> int:
    """Show services, queue, recent problems and what is pending.

    Also shows listeners, the certificate, and settings that wait for a reload or restart.

    Exits 0 when all services run, 1 otherwise.

    \b
    Examples:
      eqmail status
      eqmail status --watch
      eqmail status --json
    """
    site = require_installation(context)
    while True:
        now = time.time()
        status = read_status(site, now)
        if as_json:
            print_json("status-1", installation=site.home, **_value(status))
        else:
            if watch:
                echo(_CLEAR, nl=False)
            _print(site.home, status, start_command(site), now)
        if not watch:
            return ExitCode.OK if _is_healthy(status) else ExitCode.PROBLEMS
        time.sleep(interval)


def _is_healthy(status: InstallationStatus) -> bool:
    return bool(status.pid) and all(process.state == READY for process in status.processes)


def _print(home: str, status: InstallationStatus, start: Command, now: float) -> None:
    for label, text in _fields(home, status, now):
        echo(f"{label:12} {text}".rstrip())
    if not status.pid:
        print_hint(start)
    if status.required in _ACTIONS:
        print_hint(_ACTIONS[status.required])
    if status.processes:
        rows = [
            (
                process.name,
                str(process.pid or "-"),
                process.state,
                age(now - process.since),
                str(process.ends),
                process.reason,
            )
            for process in status.processes
        ]
        echo()
        print_table(_COLUMNS, rows)
    if status.problems:
        echo()
        echo(styled("RECENT PROBLEMS", "header"))
        for problem in status.problems:
            when = f"{datetime.fromtimestamp(problem.when):%Y-%m-%d %H:%M:%S}  " if problem.when is not None else ""
            echo(f"{when}{display(problem.text.encode())}")


def _fields(home: str, status: InstallationStatus, now: float) -> Iterator[tuple[str, str]]:
    yield "Installation", home
    if status.pid:
        uptime = f", up {age(now - status.started)}" if status.started else ""
        yield "Services", f"running, process {status.pid}{uptime}"
        yield "Listeners", ", ".join(status.listeners) or "none of the resident SMTP service"
    else:
        yield "Services", styled("not running", "error")
    yield "Queue", _queue(status)
    days = status.certificate_days
    if days is not None:
        yield "Certificate", f"valid for {days} days" if days >= 0 else styled(f"expired {-days} days ago", "error")
    if status.changed:
        required = f"{status.required.value} required: changed {', '.join(status.changed)}"
        yield "Settings", styled(required, "warning")
    elif status.pid:
        yield "Settings", "in use as they are"


def _queue(status: InstallationStatus) -> str:
    if status.messages is None:
        return "unknown: run as root"
    counters = status.counters
    running = sum(counters.get(f"{channel}.running", 0) for channel in ("local", "remote"))
    total = status.messages + counters.get("memory.messages", 0)
    text = f"{total} message{'' if total == 1 else 's'}"
    return f"{text}, {running} deliveries running" if counters else text


def _value(status: InstallationStatus) -> dict[str, object]:
    return {
        "running": bool(status.pid),
        "healthy": _is_healthy(status),
        "pid": status.pid or None,
        "started": status.started,
        "processes": [process._asdict() for process in status.processes],
        "listeners": status.listeners,
        "queue": {"messages": status.messages, "scheduler": status.counters or None},
        "problems": [problem._asdict() for problem in status.problems],
        "certificate_days": status.certificate_days,
        "required_action": status.required,
        "changed_settings": status.changed,
    }
