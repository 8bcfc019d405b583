"""`eqmail log`: what became of messages, and figures, from the logs of the services."""

import time
from datetime import datetime

import click

from eqmail_core.site.site import Site
from eqmail_core.text.lines import period
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.options import json_option
from eqmail_setup.cli.output import Column, echo, print_json, print_note, print_table, styled
from eqmail_setup.errors import EqmailError, ExitCode, permission_required, usage_error
from eqmail_setup.logs.events import SmtpEvent, TracedMessage, follow
from eqmail_setup.logs.sources import find_sources, read_lines
from eqmail_setup.logs.summary import RESULTS, LogSummary
from eqmail_setup.logs.trace import find_messages, is_message_id, queued_with_message_id
from eqmail_setup.queue.presentation import display, size

MAX_TRACED = 100
"""Messages that a trace shows."""

_since_option = click.option(
    "--since", metavar="PERIOD", default="1d", show_default=True, help="How far to look back, such as 30m, 12h or 7d."
)
_file_option = click.option(
    "--file", "files", metavar="PATH", multiple=True, help="Log file or multilog folder; else the usual places."
)


@click.group("log")
def command() -> None:
    """Trace messages through the logs, and summarize the logs.

    Reads folders of multilog, svlogd and s6-log, files of syslog, and the journal of systemd.

    \b
    Examples:
      eqmail log trace ann@example.org
      eqmail log summary --since 7d
    """


@command.command("trace")
@click.argument("query")
@_since_option
@_file_option
@json_option
@click.pass_context
def trace(context: click.Context, query: str, since: str, files: tuple[str, ...], as_json: bool) -> int:
    """Show what became of messages.

    They are found by number, by address, or by the <MESSAGE-ID> of a message in the queue.

    \b
    Examples:
      eqmail log trace ann@example.org --since 2d
      eqmail log trace @example.org
      eqmail log trace 1614922 --file /var/log/qmail/qmail-send
    """
    site = require_installation(context)
    numbers: frozenset[int] = frozenset()
    if is_message_id(query):
        numbers = _numbers_with(site, query)
        if not numbers:
            raise EqmailError(f"{query}: no message in the queue has this Message-ID; search by address instead")
    now = time.time()
    lines = read_lines(find_sources(site, files), now - _seconds(since), now)
    found = list(find_messages(follow(lines), query, numbers))
    if as_json:
        print_json("log-trace-1", events=[_value(item) for item in found])
    else:
        for item in found[-MAX_TRACED:]:
            _print_traced(item)
        if len(found) > MAX_TRACED:
            print_note(f"{len(found) - MAX_TRACED} earlier entries are not shown; choose a shorter --since")
        if not found:
            print_note(f"{query}: not in the logs since {_clock(now - _seconds(since))}")
    return ExitCode.OK if found else ExitCode.FAILED


@command.command("summary")
@_since_option
@_file_option
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="Rows of each table.")
@json_option
@click.pass_context
def summary(context: click.Context, since: str, files: tuple[str, ...], top: int, as_json: bool) -> int:
    """Count messages, results, reasons, domains and refusals.

    It counts deliveries by result, reasons, domains, senders, and what the SMTP server refused.

    \b
    Examples:
      eqmail log summary --since 7d
      eqmail log summary --file /var/log/mail.log --json
    """
    site, now = require_installation(context), time.time()
    figures = LogSummary()
    figures.add_all(follow(read_lines(find_sources(site, files), now - _seconds(since), now)))
    if as_json:
        print_json("log-summary-1", **figures.value(top))
        return ExitCode.OK
    _print_summary(figures, top)
    return ExitCode.OK


def _numbers_with(site: Site, message_id: str) -> frozenset[int]:
    try:
        return queued_with_message_id(site, message_id)
    except PermissionError as error:
        raise permission_required(f"{site.queue.root}: only root may look into the queue") from error


def _seconds(since: str) -> int:
    seconds = period(since.encode())
    if not seconds:
        raise usage_error(f"--since {since}: invalid period; give one such as 30m, 12h or 7d")
    return seconds


def _print_traced(item: TracedMessage | SmtpEvent) -> None:
    if isinstance(item, SmtpEvent):
        echo(f"{_clock(item.when)}  SMTP {display(item.what)}: {_ends(item)}, client {display(item.client)}")
        return
    end = "" if item.is_over else ", in the queue"
    echo(styled(f"message {item.number} from <{display(item.sender)}>, {size(item.size)}{end}", "header"))
    for step in item.steps:
        about = " ".join(display(part).replace("_", " ").rstrip("/") for part in (step.recipient, step.text) if part)
        echo(f"  {_clock(step.when)}  {step.kind:8}  {about}".rstrip())


def _ends(item: SmtpEvent) -> str:
    return f"<{display(item.sender)}> to <{display(item.recipient)}>"


def _clock(when: float | None) -> str:
    return f"{datetime.fromtimestamp(when):%Y-%m-%d %H:%M:%S}" if when is not None else "(no time)          "


def _value(item: TracedMessage | SmtpEvent) -> dict[str, object]:
    if isinstance(item, SmtpEvent):
        return {"event": "smtp", **item._asdict()}
    return {
        "event": "message",
        "number": item.number,
        "sender": item.sender,
        "size": item.size,
        "in_queue": not item.is_over,
        "steps": [step._asdict() for step in item.steps],
    }


def _print_summary(figures: LogSummary, top: int) -> None:
    echo(f"From {_clock(figures.first)} to {_clock(figures.last)}")
    echo(f"{figures.messages} messages, {size(figures.bytes)}, {figures.bounces} bounces")
    channels = sorted({channel for channel, _ in figures.deliveries})
    if channels:
        columns = [Column("DELIVERIES"), *(Column(result.upper(), right=True) for result in RESULTS)]
        rows = [(name, *(str(figures.deliveries[name, result]) for result in RESULTS)) for name in channels]
        echo()
        print_table(columns, rows)
    tables = (
        *((f"{result.upper()} REASON", counter) for result, counter in figures.reasons.items()),
        ("RECIPIENT DOMAIN", figures.domains),
        ("SENDER", figures.senders),
        ("SMTP EVENT", figures.smtp),
    )
    for title, counter in tables:
        if counter:
            echo()
            print_table(
                [Column("COUNT", right=True), Column(title)],
                [(str(count), name) for name, count in counter.most_common(top)],
            )
