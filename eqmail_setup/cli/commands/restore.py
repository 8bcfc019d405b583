"""`eqmail restore`: put back what `eqmail backup` saved, as one transaction."""

import os

import click

from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.options import ChangeOptions, change_options, reload_option
from eqmail_setup.cli.values import InputFile
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.plan import Change, Plan


@click.command("restore")
@click.argument("file", type=InputFile())
@reload_option
@change_options
@click.pass_context
def command(context: click.Context, file: str, reload: bool, change: ChangeOptions) -> int:
    """Restore settings, users and aliases from FILE, which eqmail backup wrote.

    Files that are not in the archive stay. Asks on a terminal; eqmail rollback undoes it.

    \b
    Examples:
      eqmail restore /root/eqmail.tar.gz --diff
      eqmail restore /root/eqmail.tar.gz
    """
    from eqmail_setup.migration.archive import plan_restore

    site = require_installation(context)

    def question(found: Plan) -> str:
        return f"Restore {len(found.operations)} files of {site.home}?"

    def plan(filesystem: Filesystem) -> list[Change]:
        return list(plan_restore(site, filesystem, os.path.abspath(file)))

    execute(context, site, change, plan, question=question, reload=reload)
    return 0
