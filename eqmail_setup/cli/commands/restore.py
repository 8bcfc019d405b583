"""`eqmail restore`: put back what `eqmail backup` saved, as one transaction."""

import os

import click

from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.options import ChangeOptions, change_options
from eqmail_setup.cli.output import echo
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.plan import Change, Plan


@click.command("restore")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@change_options
@click.pass_context
def command(context: click.Context, file: str, change: ChangeOptions) -> int:
    """Restore settings, users and aliases from FILE, which eqmail backup wrote.

    Files that are not in the archive stay. Asks on a terminal; eqmail rollback undoes it.

    \b
    Examples:
      eqmail restore /root/eqmail.tar.gz --diff
      eqmail restore /root/eqmail.tar.gz
    """
    from eqmail_setup.migration.archive import plan_restore
    from eqmail_setup.settings.reload import after_change

    site = require_installation(context)
    folder = f"{site.layout.control}/"

    def question(found: Plan) -> str:
        return f"Restore {len(found.operations)} files of {site.home}?"

    changed: list[str] = []

    def plan(filesystem: Filesystem) -> list[Change]:
        found = list(plan_restore(site, filesystem, os.path.abspath(file)))
        prefix = filesystem.display_path(folder)
        changed.extend(item.path.removeprefix(prefix) for item in found if item.path.startswith(prefix))
        return found

    number = execute(context, site, change, plan, question=question)
    action = after_change(site, changed, reload=False) if number else ""
    if action:
        echo(action, err=change.as_json)
    return 0
