"""`eqmail apply`: make an installation what a document says."""

import click

from eqmail_core.system.files import read_file
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.options import ChangeOptions, change_options, reload_option
from eqmail_setup.cli.output import confirm, is_interactive
from eqmail_setup.cli.values import InputFile
from eqmail_setup.errors import EqmailError, ExitCode


@click.command("apply")
@click.argument("file", type=InputFile())
@click.option("--check", "checks", is_flag=True, help="Change nothing; exit 1 if the installation differs.")
@reload_option
@change_options
@click.pass_context
def command(context: click.Context, change: ChangeOptions, reload: bool, checks: bool, file: str) -> int:
    """Make the installation what FILE says: settings, domains, mailboxes, aliases, users, logins and services.

    A section that FILE has is complete: what is not in it is removed, after a question. A section that is left out
    stays as it is. Mail is never removed. eqmail dump writes such a file.

    \b
    Examples:
      eqmail apply site.toml --diff
      eqmail apply site.toml --check
      eqmail apply site.toml --yes --reload
    """
    from eqmail_setup.declarative.apply import find_removals, plan_apply
    from eqmail_setup.declarative.document import parse_document
    from eqmail_setup.transaction.disk_filesystem import DiskFilesystem

    site = require_installation(context)
    document = parse_document(read_file(file) or b"", file)
    filesystem = DiskFilesystem(site.home)
    if checks:
        found = [item for item in plan_apply(site, filesystem, document) if item.operation]
        execute(context, site, change._replace(dry_run=True), lambda world: found)
        return ExitCode.PROBLEMS if found else ExitCode.OK
    removals = "" if change.preview_only or change.yes else find_removals(site, filesystem, document).text()
    if removals:
        if not is_interactive():
            raise EqmailError(f"{file} does not name, and would remove: {removals}; confirm with --yes")
        if not confirm(f"{file} does not name, and would remove: {removals}. Continue?"):
            raise EqmailError("nothing was changed")
    execute(context, site, change, lambda world: plan_apply(site, world, document), reload=reload)
    return 0
