"""`eqmail queue`: look at the messages in the queue, and hold, retry, return, delete or move them.

While the services run everything goes through the scheduler; without them it is done on the files, under its lock.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import click

from eqmail_core.queue.admin.control import MOVE, QueueControl, open_control
from eqmail_core.queue.admin.filter import BadFilter, parse_filter
from eqmail_core.queue.admin.messages import QueuedMessage
from eqmail_core.queue.admin.repair import QueueInUse, lock_queue
from eqmail_core.queue.admin.scheduler_client import connect_to_scheduler
from eqmail_core.site.site import Site
from eqmail_core.system.privileges import PrivilegeError
from eqmail_setup.cli.context import require_installation
from eqmail_setup.errors import EqmailError, ExitCode, permission_required, usage_error
from eqmail_setup.installation.build_config import load_site
from eqmail_setup.queue.operations import VERBS, Outcome, Selection, change, header_of, move
from eqmail_setup.queue.presentation import QueueFigures, display, lines_of, to_json, value_of

T = TypeVar("T")

_WHERE_HELP = "Conditions that must all hold, such as 'domain=example.org age>1h channel=remote sender=*@x size>1M'."
_DONE = {
    "retry": "is tried now",
    "hold": "held",
    "release": "released",
    "delete": "deleted",
    "bounce": "returned to its sender",
    "move": "moved",
}
# What a number without an outcome may be.
_MISSING = {
    "retry": "no such message, or it is held (eqmail queue release)",
    "hold": "no such message, or it is held already",
    "release": "no such message, or it is not held",
}


@click.group("queue")
def command() -> None:
    """Look at the messages in the queue; hold, retry, return, delete or move them.

    \b
    Fields of --where: domain recipient channel (of a recipient who waits), sender senderdomain,
    state (waiting held running memory finished new), age size number; * stands for anything.
    """


def _with_selection(function: Callable[..., int]) -> Callable[..., int]:
    for decorate in (
        click.argument("numbers", type=int, nargs=-1),
        click.option("--where", metavar="CONDITIONS", default="", help=_WHERE_HELP),
        click.option("--json", "as_values", is_flag=True, help="Report as JSON."),
        click.pass_context,
    ):
        function = decorate(function)
    return function


@command.command("list")
@_with_selection
def list_messages(context: click.Context, numbers: tuple[int, ...], where: str, as_values: bool) -> int:
    """List messages with their recipients."""
    site, option = require_installation(context), _choice(numbers, where)
    nothing = "no message matches" if numbers or where else "the queue is empty"
    _show(site, option, as_values, nothing)
    return 0


@command.command("show")
@click.argument("number", type=int)
@click.option("--json", "as_value", is_flag=True, help="Report as JSON.")
@click.pass_context
def show(context: click.Context, number: int, as_value: bool) -> int:
    """Show one message: recipients, what its sender will be told, and its header."""
    site = require_installation(context)
    message = next(_seen(site, Selection(parse_filter(""), [number]), QueuedMessage.whole), None)
    if message is None:
        raise EqmailError(f"#{number}: there is no such message in the queue of {site.home}")
    header = header_of(site.queue, number)
    failures = _text_of(site.queue.bounce(number)) if message.bounces and message.state != "memory" else b""
    if as_value:
        more = {"failures": failures.decode("utf-8", "replace"), "header": header.decode("utf-8", "replace")}
        click.echo(to_json(value_of(message, time.time()) | more))
        return 0
    click.echo("\n".join(lines_of(message, time.time())))
    for text in (failures, header):
        if text:
            click.echo("\n" + "\n".join(display(line) for line in text.rstrip(b"\n").split(b"\n")))
    return 0


@command.command("stats")
@click.option("--top", type=click.IntRange(0), default=10, help="How many domains to show.")
@_with_selection
def stats(context: click.Context, numbers: tuple[int, ...], where: str, as_values: bool, top: int) -> int:
    """Count messages and recipients by state, channel, domain and age; and what the scheduler has in memory."""
    site, option = require_installation(context), _choice(numbers, where)
    figures, now = QueueFigures(), time.time()
    for _ in _seen(site, option, lambda item: figures.add(item, now)):
        pass
    with _trouble(site):
        client = connect_to_scheduler(site)
        counters = client.counters() if client is not None else {}
        if client is not None:
            client.close()
    if as_values:
        click.echo(to_json(figures.value(top, counters)))
    else:
        click.echo("\n".join(figures.lines(top, counters)))
    return 0


def _changing(name: str, manual: str) -> None:
    @_with_selection
    def changing(
        context: click.Context, numbers: tuple[int, ...], where: str, as_values: bool, everything: bool, dry: bool
    ) -> int:
        site, option = require_installation(context), _choice(numbers, where, everything, True)
        if dry:
            _show(site, option, as_values, "")
            return 0
        with _controlled(site, VERBS[name]) as control:
            return _report(name, change(site, control, VERBS[name], option), numbers, as_values)

    changing = click.option("--all", "everything", is_flag=True, help="Every message, where no other choice is made.")(
        changing
    )
    changing = click.option("--dry-run", "dry", is_flag=True, help="List the messages and change nothing.")(changing)
    command.command(name, help=manual)(changing)


_changing("retry", "Try messages now that wait for their next attempt; held ones stay held.")
_changing("hold", "Try messages no more until they are released; they grow older all the same.")
_changing("release", "Let held messages go on, beginning now.")
_changing("delete", "Remove messages without a word to anybody.")
_changing("bounce", "Return messages to their senders as if all recipients who wait had failed.")


@command.command("move")
@click.option(
    "--to", "other", metavar="HOME", required=True, help="The other installation; its services must be stopped."
)
@click.option("--all", "everything", is_flag=True, help="Every message, where no other choice is made.")
@_with_selection
def move_messages(
    context: click.Context, numbers: tuple[int, ...], where: str, as_values: bool, other: str, everything: bool
) -> int:
    """Move messages into the queue of another installation, with age, recipients and times as they are.

    A message gets a number of the other queue. Recipients keep the channel that they were given here.
    """
    site, option = require_installation(context), _choice(numbers, where, everything, True)
    target = load_site(os.path.abspath(other))
    if target is None:
        raise usage_error(f"--to {other}: no installation here; run: eqmail --home {other} setup")
    if os.path.realpath(target.home) == os.path.realpath(site.home):
        raise usage_error(f"--to {other}: this is the queue that the messages are in")
    try:
        lock = lock_queue(target.queue)
    except QueueInUse:
        raise EqmailError(f"the services of {target.home} are running; stop them first") from None
    try:
        with _controlled(site, MOVE) as control:
            return _report("move", move(site, control, target.queue, option), numbers, as_values)
    finally:
        os.close(lock)


def _choice(numbers: tuple[int, ...], where: str, everything: bool = False, demanded: bool = False) -> Selection:
    """What was chosen on the command line; `demanded`: nothing at all is not everything."""
    if demanded and not (numbers or where.strip() or everything):
        raise usage_error("which messages? give numbers, --where CONDITIONS or --all")
    if everything and numbers:
        raise usage_error("either numbers or --all")
    try:
        return Selection(parse_filter(where), list(numbers) or None)
    except BadFilter as error:
        raise usage_error(f"--where: {error}") from error


@contextmanager
def _trouble(site: Site) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise permission_required(
            f"the queue of {site.home} is for root and {site.accounts.user('qmails')} only"
        ) from error
    except QueueInUse as error:
        raise EqmailError(
            f"a qmail-send without control socket uses the queue of {site.home}; stop it first"
        ) from error
    except (PrivilegeError, ValueError) as error:
        raise EqmailError(str(error)) from error


@contextmanager
def _controlled(site: Site, verb: bytes) -> Iterator[QueueControl]:
    with _trouble(site):
        control = open_control(site, int(time.time()), verb)
        try:
            yield control
        finally:
            control.close()


def _seen(site: Site, option: Selection, view: Callable[[QueuedMessage], T | None]) -> Iterator[T]:
    """What `view` makes of each message that is meant, without a lock."""
    with _trouble(site):
        client = connect_to_scheduler(site)
        books = client.scheduler_state() if client is not None else None
        if client is not None:
            client.close()
        os.listdir(site.queue.info_dirs()[0])
        yield from option.select(site, books, view)


def _show(site: Site, option: Selection, as_values: bool, nothing: str) -> None:
    """Print the messages that are meant, or `nothing`; as many at a time as fit a buffer."""
    now, write, parting = time.time(), sys.stdout.write, "["
    if as_values:
        for text in _seen(site, option, lambda item: to_json(value_of(item.whole(), now))):
            write(f"{parting}{text}\n")
            parting = ","
        write("]\n" if parting == "," else "[]\n")
    else:
        for text in _seen(site, option, lambda item: "\n".join(lines_of(item.whole(), now))):
            write(f"{text}\n")
            nothing = ""
        write(f"{nothing}\n" if nothing else "")
    sys.stdout.flush()


def _report(name: str, outcomes: Iterator[Outcome], numbers: tuple[int, ...], as_values: bool) -> int:
    """One line, or one value, for each message; the exit code."""
    done = failed = 0
    seen = set()
    for outcome in outcomes:
        done += outcome.is_done
        failed += not outcome.is_done
        if numbers:
            seen.add(outcome.number)
        if as_values:
            click.echo(("[" if done + failed == 1 else ",") + to_json(outcome._asdict()))
        else:
            click.echo(
                f"#{outcome.number}: {'' if outcome.is_done else 'not '}{_DONE[name]}"
                + (f", {outcome.text}" if outcome.text else "")
            )
    for number in sorted(set(numbers) - seen):
        failed += 1
        missing = Outcome(number, False, _MISSING.get(name, "no such message"))
        if as_values:
            click.echo(("[" if done + failed == 1 else ",") + to_json(missing._asdict()))
        else:
            click.echo(f"#{number}: {missing.text}")
    if as_values:
        click.echo("]" if done + failed else "[]")
    elif not done and not failed:
        click.echo("no message matches")
    return ExitCode.FAILED if failed else 0


def _text_of(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError:
        return b""
