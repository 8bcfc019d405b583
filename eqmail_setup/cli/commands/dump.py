"""`eqmail dump`: an installation as one document."""

import os

import click

from eqmail_core.system.files import write_atomically
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.output import echo


@click.command("dump")
@click.option("--secrets", is_flag=True, help="With password hashes and logins.")
@click.option("--output", metavar="FILE", help="Write FILE, readable by its owner only.")
@click.pass_context
def command(context: click.Context, secrets: bool, output: str | None) -> int:
    """Write settings, domains, mailboxes, aliases, users, logins and services as a TOML document for eqmail apply.

    Without --secrets, passwords are left out; applying such a document leaves them as they are. Mail, keys and
    certificates are no part of it.

    \b
    Examples:
      eqmail dump > site.toml
      eqmail dump --secrets --output site.toml
    """
    from eqmail_setup.declarative.document import document_text
    from eqmail_setup.declarative.dump import dump_site
    from eqmail_setup.transaction.disk_filesystem import DiskFilesystem

    site = require_installation(context)
    text = document_text(dump_site(site, DiskFilesystem(site.home), secrets))
    if output is None:
        echo(text, nl=False)
        return 0
    before = os.umask(0o077)
    try:
        write_atomically(output, text.encode("utf-8", "surrogateescape"))
    finally:
        os.umask(before)
    return 0
