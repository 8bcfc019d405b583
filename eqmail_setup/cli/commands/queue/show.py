"""`eqmail queue list`, `show` and `stats`: messages, one message, figures."""

import heapq
import json
import os
import sys
import time
from collections.abc import Callable

import click

from eqmail_core.queue.admin.filter import SHARED, parse_filter
from eqmail_core.queue.admin.messages import QueuedMessage
from eqmail_core.queue.admin.scheduler_client import connect_to_scheduler
from eqmail_core.site.site import Site
from eqmail_core.system.files import CHUNK
from eqmail_setup.cli.commands.queue.common import each_selected, knowledge_of, queue_errors, selection, with_selection
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.options import json_option
from eqmail_setup.cli.output import Column, echo, print_json, print_note, print_table
from eqmail_setup.errors import EqmailError
from eqmail_setup.queue.figures import QueueFigures, age_headers
from eqmail_setup.queue.operations import Selection, header_in, header_of, shared_queue
from eqmail_setup.queue.presentation import display, lines_of, rows_of, value_of

DEFAULT_LIMIT = 1000
"""Messages that a list shows where no limit is given."""

_COLUMNS = (
    Column("ID", fixed=True),
    Column("STATE", fixed=True),
    Column("AGE", right=True),
    Column("SIZE", right=True),
    Column("NEXT", right=True),
    Column("SENDER"),
    Column("RECIPIENT"),
    Column("REASON"),
)
_NEVER = float("inf")
_SORT_KEYS: dict[str, Callable[[QueuedMessage], tuple[object, ...]]] = {
    "age": lambda message: (message.birth,),
    "size": lambda message: (-message.size,),
    "next": lambda message: (min(message.due.values(), default=_NEVER),),
    "sender": lambda message: (message.sender.lower(),),
    "state": lambda message: (message.state,),
    "number": lambda message: (),
}


@click.command("list")
@click.option("--sort", type=click.Choice([*_SORT_KEYS]), default="age", show_default=True, help="Order of the list.")
@click.option(
    "--limit", type=click.IntRange(0), default=DEFAULT_LIMIT, show_default=True, help="Messages to show; 0 for all."
)
@with_selection
def list_messages(
    context: click.Context, numbers: tuple[int, ...], where: str, as_json: bool, sort: str, limit: int
) -> int:
    """List messages: next attempt, recipients, and why they wait.

    \b
    Examples:
      eqmail queue list --sort size --limit 20
      eqmail queue list --where 'domain=example.org age>1h'
    """
    site, chosen, now = require_installation(context), selection(numbers, where), time.time()
    knowledge, figures = knowledge_of(site), QueueFigures()

    def seen(message: QueuedMessage) -> QueuedMessage:
        figures.add(message.whole(), now)
        return message

    order = _SORT_KEYS[sort]
    messages = each_selected(site, chosen, seen)
    key = lambda message: (*order(message), message.number)  # noqa: E731
    # Of a large queue no more is kept than is shown.
    listed = heapq.nsmallest(limit, messages, key=key) if limit else sorted(messages, key=key)
    if as_json:
        _write_json([value_of(message, knowledge, now) for message in listed], figures)
        return 0
    if not listed:
        print_note("no message matches" if numbers or where else "the queue is empty")
        return 0
    rows = [row for message in listed for row in rows_of(message, knowledge, now)]
    hidden = figures.messages - len(listed)
    more = f"; {hidden} not shown, --limit 0 shows all" if hidden else ""
    print_table(_COLUMNS, rows, figures.total() + more)
    return 0


def _write_json(messages: list[dict[str, object]], figures: QueueFigures) -> None:
    """The envelope, written message by message."""
    sys.stdout.write('{"schema": "eqmail/queue-1", "messages": [')
    for count, message in enumerate(messages):
        sys.stdout.write(("," if count else "") + "\n" + json.dumps(message))
    total = {"messages": figures.messages, "recipients": figures.recipients, "bytes": figures.bytes}
    sys.stdout.write(f'\n], "total": {json.dumps(total)}}}\n')
    sys.stdout.flush()


@click.command("show")
@click.argument("number", type=int)
@click.option("--raw", is_flag=True, help="Write the message itself, unchanged.")
@json_option
@click.pass_context
def show(context: click.Context, number: int, raw: bool, as_json: bool) -> int:
    """Show one message: recipients with attempts and last replies, noted failures, header."""
    site, now = require_installation(context), time.time()
    if raw:
        if not _write_shared(site, number):
            _write_raw(site.queue.mess(number), number)
        return 0
    message = next(each_selected(site, Selection(parse_filter(""), [number]), QueuedMessage.whole), None)
    if message is None:
        raise EqmailError(f"message {number}: not in the queue of {site.home}", hint=("eqmail", "queue", "list"))
    knowledge = knowledge_of(site)
    if message.stamp == SHARED:
        header, failures = _shared_texts(site, number)
    else:
        header = header_of(site.queue, number)
        failures = _text_of(site.queue.bounce(number)) if message.bounces and message.state != "memory" else b""
    if as_json:
        texts = {"failures": failures.decode("utf-8", "replace"), "header": header.decode("utf-8", "replace")}
        print_json("queue-message-1", **value_of(message, knowledge, now), **texts)
        return 0
    for label, text in lines_of(message, knowledge, now):
        echo(f"{label:10} {text}".rstrip())
    for text_block in (failures, header):
        if text_block:
            echo("\n" + "\n".join(display(line) for line in text_block.rstrip(b"\n").split(b"\n")))
    return 0


def _shared_texts(site: Site, number: int) -> tuple[bytes, bytes]:
    """Return the header of a message of the database, and its noted failures."""
    with shared_queue(site) as shared:
        found = shared.texts(number) if shared is not None else None
        if found is None:
            return b"", b""
        pieces, failures = found
        return header_in(next(pieces, b"")), failures


def _write_shared(site: Site, number: int) -> bool:
    """Copy a message of the database to standard output; return whether it was there."""
    with shared_queue(site) as shared:
        found = shared.texts(number) if shared is not None else None
        if found is None:
            return False
        for piece in found[0]:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    return True


def _write_raw(path: str, number: int) -> None:
    """Copy a message to standard output."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        reason = "not on the disk; it was delivered, or is in memory for its first attempt"
        raise EqmailError(f"message {number}: {reason}", hint=("eqmail", "queue", "list")) from None
    try:
        while chunk := os.read(fd, CHUNK):
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    finally:
        os.close(fd)


@click.command("stats")
@click.option("--top", type=click.IntRange(0), default=10, show_default=True, help="Domains to show.")
@with_selection
def stats(context: click.Context, numbers: tuple[int, ...], where: str, as_json: bool, top: int) -> int:
    """Count waiting recipients by domain and age, messages by state, and what the scheduler holds."""
    site, chosen = require_installation(context), selection(numbers, where)
    figures, now = QueueFigures(), time.time()
    for _ in each_selected(site, chosen, lambda item: figures.add(item, now)):
        pass
    with queue_errors(site):
        client = connect_to_scheduler(site)
        counters = client.counters() if client is not None else {}
        if client is not None:
            client.close()
    if as_json:
        print_json("queue-stats-1", **figures.value(top, counters))
        return 0
    if figures.domains:
        ages = [Column(name, right=True) for name in age_headers()]
        print_table([Column("DOMAIN"), Column("WAITING", right=True), *ages], figures.domain_rows(top))
        echo()
    states = [
        *sorted(figures.states.items()),
        *((f"{name} recipients", count) for name, count in figures.channels.items()),
    ]
    if states:
        print_table([Column("MESSAGES"), Column("COUNT", right=True)], [(name, str(count)) for name, count in states])
        echo()
    if counters:
        print_table(
            [Column("SCHEDULER"), Column("VALUE", right=True)], [(name, str(value)) for name, value in counters.items()]
        )
        echo()
    else:
        print_note("scheduler not running; figures are read from disk")
    echo(figures.total())
    return 0


def _text_of(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError:
        return b""


VERBS = (list_messages, show, stats)
