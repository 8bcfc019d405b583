"""`eqmail alias init`: the addresses that every host must have, delivered to an address of a person."""

import os

import click

from eqmail_core.system.files import write_atomically
from eqmail_setup.opened import demand_installation
from eqmail_setup.refusal import Refusal, usage

NEEDED = ("postmaster", "mailer-daemon", "root")


@click.group("alias")
def command() -> None:
    """Create the addresses that every host must have."""


@command.command("init")
@click.argument("address")
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@click.pass_context
def init(context: click.Context, address: str, dry_run: bool) -> int:
    """Forward postmaster, mailer-daemon and root to ADDRESS, where no .qmail file for them exists."""
    site = demand_installation(context)
    if "@" not in address.strip("@") or any(character.isspace() for character in address) or address[0] in "#|./&":
        raise usage(f"{address!r} is not an address; give one such as joe@example.org")
    if not os.path.isdir(site.alias):
        raise Refusal(f"{site.alias}: missing; run: eqmail --home {site.home} setup")
    made = 0
    for name in NEEDED:
        path = f"{site.alias}/.qmail-{name}"
        if not os.path.exists(path):
            if not dry_run:
                write_atomically(path, b"&" + os.fsencode(address) + b"\n")
                os.chmod(path, 0o644)
            click.echo(f"{path}: forwards to {address}")
            made += 1
    if not made:
        click.echo("nothing to do")
    return 0
