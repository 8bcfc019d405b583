"""`eqmail greylist`: whom greylisting knows, and who waits for a second attempt."""

import os
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

import click

from eqmail_core.site.site import Site
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.options import json_option
from eqmail_setup.cli.output import Column, echo, print_json, print_note, print_table
from eqmail_setup.errors import EqmailError, ExitCode

T = TypeVar("T")

Rows = list[tuple[str, ...]]

MAX_ROWS = 50
"""Entries of a kind that are shown without --all."""


@click.group("greylist")
def command() -> None:
    """Show and forget the senders that greylisting knows (control/greylistdelay).

    \b
    Examples:
      eqmail config set greylistdelay 300
      eqmail greylist list
    """


@command.command("list")
@click.option("--all", "everything", is_flag=True, help=f"Show all, not only {MAX_ROWS} of a kind.")
@json_option
@click.pass_context
def list_senders(context: click.Context, everything: bool, as_json: bool) -> int:
    """Show known networks and domains, and senders that wait or have passed, the newest first.

    \b
    Examples:
      eqmail greylist list
      eqmail greylist list --all --json
    """
    from eqmail_core.smtpd.server.greylist_database import LEARN, GreylistDatabase

    def found(database: GreylistDatabase) -> tuple[Rows, Rows]:
        now = int(time.time())
        known: Rows = [
            (_shown(it.origin), str(it.senders), "known" if it.senders >= LEARN else "learning", _ago(now - it.seen))
            for it in database.known_origins()
        ]
        attempts: Rows = [
            (
                _shown(it.origin),
                _shown(it.sender) or "<>",
                _shown(it.recipient),
                "passed" if it.passed else "waits",
                _ago(now - it.first),
                _ago(now - it.seen),
            )
            for it in database.attempts()
        ]
        return known, attempts

    known, attempts = _with_database(require_installation(context), found) or ([], [])
    if as_json:
        print_json(
            "greylist-1",
            known=[dict(zip(("origin", "senders", "state", "seen"), row, strict=True)) for row in known],
            attempts=[
                dict(zip(("origin", "sender", "recipient", "state", "first", "seen"), row, strict=True))
                for row in attempts
            ],
        )
        return 0
    if not known and not attempts:
        print_note("no sender is known, and none waits")
    for rows, names in (
        (known, ("ORIGIN", "SENDERS", "STATE", "SEEN")),
        (attempts, ("ORIGIN", "SENDER", "RECIPIENT", "STATE", "FIRST", "SEEN")),
    ):
        if rows:
            print_table([Column(name) for name in names], rows if everything else rows[:MAX_ROWS])
            echo(f"{len(rows)} in all")
    return 0


@command.command("forget")
@click.argument("names", nargs=-1, required=True)
@click.pass_context
def forget(context: click.Context, names: tuple[str, ...]) -> int:
    """Forget networks, domains, senders or recipients, as `list` shows them.

    \b
    Examples:
      eqmail greylist forget 192.0.2.0/24 joe@example.org
    """
    site, code = require_installation(context), 0
    for name in names:
        text = name.lower()
        count = _with_database(site, lambda database, text=text: database.forget(os.fsencode(text))) or 0
        echo(f"{name}: {count} entries forgotten")
        code = code if count else ExitCode.FAILED
    return code


def _with_database(site: Site, act: Callable[..., T]) -> T | None:
    """Use the database as its owner; None where there is none."""
    from eqmail_core.smtpd.server.greylist_database import GreylistDatabase
    from eqmail_core.system.privileges import TemporaryIdentity

    try:
        owner = os.stat(site.greylist, follow_symlinks=False)
    except FileNotFoundError:
        return None
    database = GreylistDatabase(site.greylist)
    try:
        if os.geteuid() == 0 and owner.st_uid != 0:
            with TemporaryIdentity(owner.st_uid, owner.st_gid):
                return act(database)
        return act(database)
    except sqlite3.Error as error:
        raise EqmailError(
            f"{site.greylist}: {error}; if it is damaged, stop the services, remove it and start them"
        ) from error
    finally:
        database.close()


def _shown(text: bytes) -> str:
    from eqmail_setup.queue.presentation import display

    return display(text)


def _ago(seconds: int) -> str:
    from eqmail_setup.queue.presentation import age

    return f"{age(seconds)} ago"
