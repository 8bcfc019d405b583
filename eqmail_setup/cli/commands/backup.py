"""`eqmail backup`: save what makes an installation what it is, without mail, to one archive."""

import os

import click

from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.options import json_option
from eqmail_setup.cli.output import echo, print_json
from eqmail_setup.errors import usage_error
from eqmail_setup.installation.lock import LOCK, locked
from eqmail_setup.transaction.transaction import require_owner


@click.command("backup")
@click.argument("file", type=click.Path(dir_okay=False))
@json_option
@click.pass_context
def command(context: click.Context, file: str, as_json: bool) -> int:
    """Save settings, users and aliases to FILE, a gzipped tar archive that only its owner can read.

    It holds passwords and keys. Mail, queue and history are not in it.

    \b
    Examples:
      eqmail backup /root/eqmail.tar.gz
    """
    from eqmail_setup.migration.archive import write_archive

    site = require_installation(context)
    require_owner(site.home)
    if os.path.lexists(file):
        raise usage_error(f"{file}: exists; choose another name")
    with locked(f"{site.home}/{LOCK}"):
        count = write_archive(site, os.path.abspath(file))
    if as_json:
        print_json("backup-1", installation=site.home, file=os.path.abspath(file), entries=count)
    else:
        echo(f"Wrote {file} ({count} entries)")
    return 0
