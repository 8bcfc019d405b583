"""What the commands of `eqmail queue` share: which messages are meant, and how the queue is reached."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import click

from eqmail_core.queue.admin.attempts import load_attempts
from eqmail_core.queue.admin.control import QueueControl, open_control
from eqmail_core.queue.admin.filter import BadFilter, parse_filter
from eqmail_core.queue.admin.messages import QueuedMessage
from eqmail_core.queue.admin.scheduler_client import connect_to_scheduler
from eqmail_core.queue.lock import QueueInUse
from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_controls
from eqmail_core.system.privileges import PrivilegeError
from eqmail_setup.cli.options import json_option
from eqmail_setup.errors import EqmailError, permission_required, usage_error
from eqmail_setup.queue.operations import Selection
from eqmail_setup.queue.presentation import QueueKnowledge

T = TypeVar("T")

_WHERE_HELP = "Conditions that must all hold, such as 'domain=example.org age>1h channel=remote sender=*@x size>1M'."


def with_selection(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the arguments that choose messages, and --json."""
    for decorate in (
        click.argument("numbers", type=int, nargs=-1),
        click.option("--where", metavar="CONDITIONS", default="", help=_WHERE_HELP),
        json_option,
        click.pass_context,
    ):
        function = decorate(function)
    return function


def selection(numbers: tuple[int, ...], where: str, everything: bool = False, must_choose: bool = False) -> Selection:
    """What was chosen on the command line; with `must_choose`, no choice is not everything."""
    if must_choose and not (numbers or where.strip() or everything):
        raise usage_error("no messages chosen; give numbers, --where CONDITIONS or --all")
    if everything and numbers:
        raise usage_error("numbers and --all exclude each other")
    try:
        return Selection(parse_filter(where), list(numbers) or None)
    except BadFilter as error:
        raise usage_error(f"--where: {error}") from error


@contextmanager
def queue_errors(site: Site) -> Iterator[None]:
    """Turn what keeps a command from the queue into errors of commands."""
    try:
        yield
    except PermissionError as error:
        accounts = f"root and {site.accounts.user('qmails')}"
        raise permission_required(f"the queue of {site.home} is accessible to {accounts} only") from error
    except QueueInUse as error:
        raise EqmailError(
            f"a qmail-send without control socket uses the queue of {site.home}; stop it first"
        ) from error
    except (PrivilegeError, ValueError) as error:
        raise EqmailError(str(error)) from error


@contextmanager
def controlled(site: Site, verb: bytes) -> Iterator[QueueControl]:
    """A connection to the scheduler, or exclusive access to the queue."""
    with queue_errors(site):
        control = open_control(site, int(time.time()), verb)
        try:
            yield control
        finally:
            control.close()


def each_selected(site: Site, chosen: Selection, view: Callable[[QueuedMessage], T | None]) -> Iterator[T]:
    """What `view` makes of each message that is meant, without a lock."""
    with queue_errors(site):
        client = connect_to_scheduler(site)
        state = client.scheduler_state() if client is not None else None
        if client is not None:
            client.close()
        os.listdir(site.queue.info_dirs()[0])
        yield from chosen.select(site, state, view)


def knowledge_of(site: Site) -> QueueKnowledge:
    """What is known about recipients beside the files of their messages."""
    with queue_errors(site):
        return QueueKnowledge(load_attempts(site.queue), read_controls(site).suspendeddomains or {})
