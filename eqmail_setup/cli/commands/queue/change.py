"""The commands of `eqmail queue` that change messages: retry, hold, release, delete, bounce, move."""

import os
import shlex
import time
from collections.abc import Iterator
from typing import NamedTuple

import click

from eqmail_core.queue.admin.control import MOVE
from eqmail_core.queue.admin.messages import QueuedMessage
from eqmail_core.queue.lock import QueueInUse, lock_scheduling
from eqmail_core.site.site import Site
from eqmail_core.site.site_file import DATABASE_PREFIX, DIRECTORY
from eqmail_setup.cli.commands.queue.common import (
    controlled,
    each_selected,
    knowledge_of,
    selection,
    with_selection,
)
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.output import confirm, echo, is_interactive, print_json, print_note
from eqmail_setup.cli.progress import progress
from eqmail_setup.errors import EqmailError, ExitCode, usage_error
from eqmail_setup.installation.build_config import load_site, parse_queue
from eqmail_setup.queue import relocation
from eqmail_setup.queue.figures import QueueFigures
from eqmail_setup.queue.operations import VERBS as VERB_BYTES
from eqmail_setup.queue.operations import Outcome, Selection, change, move
from eqmail_setup.queue.presentation import value_of

MAX_LINES = 20
"""Messages that are reported one by one without --verbose; of more there is a summary."""


class Verb(NamedTuple):
    """One change: what was done, what a number without an outcome may be, and whether it is asked for."""

    help: str
    done: str
    missing: str = "no such message"
    question: str = ""


_VERBS = {
    "retry": Verb("Try waiting messages now; held ones stay held.", "scheduled", "no such message, or it is held"),
    "hold": Verb("Stop trying messages until they are released.", "held", "no such message, or it is held already"),
    "release": Verb("Release held messages and try them now.", "released", "no such message, or it is not held"),
    "delete": Verb("Delete messages without notifying the sender.", "deleted", question="Delete"),
    "bounce": Verb("Return messages to their senders as undeliverable.", "returned", question="Return"),
}
_MOVED = Verb("", "moved")


def _command_for(name: str, verb: Verb) -> click.Command:
    @click.command(name, help=verb.help)
    @click.option("--all", "everything", is_flag=True, help="Every message, where no other choice is made.")
    @click.option("--dry-run", "dry_run", is_flag=True, help="List the messages and change nothing.")
    @click.option("--yes", is_flag=True, help="Answer yes to all questions.")
    @click.option("-v", "--verbose", is_flag=True, help="Report every message.")
    @with_selection
    def changing(
        context: click.Context,
        numbers: tuple[int, ...],
        where: str,
        as_json: bool,
        everything: bool,
        dry_run: bool,
        yes: bool,
        verbose: bool,
    ) -> int:
        site, chosen = require_installation(context), selection(numbers, where, everything, True)
        if dry_run:
            return _preview(site, chosen, verb, as_json)
        figures = _count(site, chosen)
        if verb.question and not numbers and figures.messages:
            _require_consent(verb, figures, yes)
        with controlled(site, VERB_BYTES[name]) as control:
            outcomes = change(site, control, VERB_BYTES[name], chosen)
            return _report(verb, outcomes, numbers, as_json, verbose, figures.messages)

    return changing


def _count(site: Site, chosen: Selection) -> QueueFigures:
    figures, now = QueueFigures(), time.time()
    for _ in each_selected(site, chosen, lambda item: figures.add(item, now)):
        pass
    return figures


def _require_consent(verb: Verb, figures: QueueFigures, yes: bool) -> None:
    """Ask before a permanent change of messages that were not named individually."""
    if yes:
        return
    if not is_interactive():
        raise usage_error(f"{verb.question.lower()}: {figures.total()}; --yes is required without a terminal")
    if not confirm(f"{verb.question} {figures.total()}? This cannot be undone."):
        raise EqmailError("nothing was changed")


def _preview(site: Site, chosen: Selection, verb: Verb, as_json: bool) -> int:
    now = time.time()
    if as_json:
        knowledge = knowledge_of(site)
        values = list(each_selected(site, chosen, lambda item: value_of(item.whole(), knowledge, now)))
        print_json("queue-1", messages=values, dry_run=True)
        return 0
    figures = QueueFigures()

    def seen(message: QueuedMessage) -> int:
        figures.add(message.whole(), now)
        return message.number

    for number in each_selected(site, chosen, seen):
        echo(str(number))
    echo(f"Would be {verb.done}: {figures.total()}")
    return 0


@click.command("move")
@click.option(
    "--to",
    "other",
    metavar="HOME|directory|postgresql:DSN",
    required=True,
    help="Other installation, whose services must be stopped; or another place for the whole queue of this one.",
)
@click.option("--all", "everything", is_flag=True, help="Every message, where no other choice is made.")
@click.option("--dry-run", "dry_run", is_flag=True, help="List the messages and change nothing.")
@click.option("-v", "--verbose", is_flag=True, help="Report every message.")
@with_selection
def move_messages(
    context: click.Context,
    numbers: tuple[int, ...],
    where: str,
    as_json: bool,
    other: str,
    everything: bool,
    dry_run: bool,
    verbose: bool,
) -> int:
    """Move messages into the queue of another installation; age, recipients and times stay.

    A message gets a number of the other queue. Recipients keep the channel that they were given here.

    With `postgresql:...` or `directory` all messages of this installation go there, while its services are stopped.
    `eqmail setup --queue` then sets the place. What was interrupted goes on when the command is given again.
    """
    if other == DIRECTORY or other.startswith(DATABASE_PREFIX):
        if numbers or where:
            raise usage_error(f"--to {other}: moves the whole queue; no messages can be chosen")
        return _relocate(require_installation(context), other, dry_run, as_json)
    site, chosen = require_installation(context), selection(numbers, where, everything, True)
    target = load_site(os.path.abspath(other))
    if target is None:
        raise usage_error(f"--to {other}: no eQmail installation", hint=("eqmail", "--home", other, "setup"))
    if os.path.realpath(target.home) == os.path.realpath(site.home):
        raise usage_error(f"--to {other}: the messages are in this queue already")
    if dry_run:
        return _preview(site, chosen, _MOVED, as_json)
    try:
        lock = lock_scheduling(target.queue)
    except QueueInUse:
        raise EqmailError(f"the services of {target.home} are running; stop them first") from None
    try:
        total = _count(site, chosen).messages
        with controlled(site, MOVE) as control:
            return _report(_MOVED, move(site, control, target.queue, chosen), numbers, as_json, verbose, total)
    finally:
        os.close(lock)


def _relocate(site: Site, place: str, dry_run: bool, as_json: bool) -> int:
    """Move the whole queue into a database, or back into its directory."""
    try:
        conninfo = parse_queue(place)
    except ValueError:
        raise usage_error(f"--to {place}: give postgresql:WORDS, without a password") from None
    if not conninfo and not site.queue_database:
        raise usage_error(f"--to {place}: the queue is there already")
    if conninfo:
        relocation.check_database(site, conninfo)
    total = relocation.count_in_directory(site) if conninfo else relocation.count_in_database(site)
    if dry_run:
        done, sentence = relocation.Relocation(total, []), "would be moved"
    else:
        with progress("moved", total) as on_progress:
            if conninfo:
                done = relocation.move_to_database(site, conninfo, on_progress)
            else:
                done = relocation.move_to_directory(site, on_progress)
        sentence = "moved"
    if as_json:
        print_json("queue-move-1", to=place, messages=done.messages, problems=done.problems, dry_run=dry_run)
    else:
        for problem in done.problems:
            print_note(problem)
        echo(f"{done.messages} message{'' if done.messages == 1 else 's'} {sentence}.")
        if not dry_run and conninfo != site.queue_database:
            print_note(f"now run: eqmail setup --queue {shlex.quote(place)}")
    return ExitCode.PROBLEMS if done.problems else ExitCode.OK


def _report(
    verb: Verb, outcomes: Iterator[Outcome], numbers: tuple[int, ...], as_json: bool, verbose: bool, total: int
) -> int:
    """Report what was done: a line for each of a few messages and for each failure, then a summary."""
    all_outcomes: list[Outcome] = []
    with progress(f"{verb.done}", total) as on_progress:
        for outcome in outcomes:
            all_outcomes.append(outcome)
            on_progress(len(all_outcomes))
    found = {outcome.number for outcome in all_outcomes}
    all_outcomes += [Outcome(number, False, verb.missing) for number in sorted(set(numbers) - found)]
    failed = [outcome for outcome in all_outcomes if not outcome.is_done]
    done = len(all_outcomes) - len(failed)
    if as_json:
        values = [{"number": it.number, "done": it.is_done, "text": it.text} for it in all_outcomes]
        print_json("queue-change-1", operation=verb.done, done=done, failed=len(failed), messages=values)
    elif not all_outcomes:
        print_note("no message matches")
    else:
        shown = all_outcomes if verbose or len(all_outcomes) <= MAX_LINES else failed
        for outcome in shown:
            state = verb.done if outcome.is_done else f"not {verb.done}"
            echo(f"{outcome.number}: {state}" + (f", {outcome.text}" if outcome.text else ""))
        echo(f"{done} message{'' if done == 1 else 's'} {verb.done}" + (f", {len(failed)} not" if failed else "") + ".")
    return ExitCode.FAILED if failed else ExitCode.OK


VERBS = (*(_command_for(name, verb) for name, verb in _VERBS.items()), move_messages)
