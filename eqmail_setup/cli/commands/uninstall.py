"""`eqmail uninstall`: remove an installation; settings and mail stay unless asked otherwise."""

import os
import shutil

import click

from eqmail_core.site.site import Site
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import count_text, execute, print_plan, require_consent
from eqmail_setup.cli.options import ChangeOptions, change_options
from eqmail_setup.cli.output import echo, print_json
from eqmail_setup.errors import EqmailError
from eqmail_setup.installation.loading import demand_own
from eqmail_setup.installation.lock import LOCK, locked
from eqmail_setup.installation.removal import plan_uninstall, queued_messages
from eqmail_setup.services.state import plan_remove_services
from eqmail_setup.settings.reload import running_pid
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.operations import RemoveTree
from eqmail_setup.transaction.plan import Change, apply_changes
from eqmail_setup.transaction.transaction import require_owner


@click.command("uninstall")
@click.option("--purge", is_flag=True, help="Also remove settings, users, aliases, queue, mail and history.")
@change_options
@click.pass_context
def command(context: click.Context, purge: bool, change: ChangeOptions) -> int:
    """Remove programs, manuals, links and service files of an installation. Asks; scripts need --yes.

    Settings, users, aliases, the queue and all mail stay, and eqmail rollback brings the rest back. With --purge the
    whole home is removed, which cannot be undone. Accounts of the system stay.

    \b
    Examples:
      eqmail uninstall --dry-run
      eqmail uninstall
      eqmail uninstall --purge --yes
    """
    site = require_installation(context)
    if running_pid(site):
        raise EqmailError(f"{site.home}: the services are running; stop them first")
    if purge:
        return _purge(site, change)
    if not change.preview_only:
        require_consent([], f"Remove the programs and service files of {site.home}?", change, always=True)

    def plan(filesystem: Filesystem) -> list[Change]:
        return [*plan_remove_services(site, filesystem), *plan_uninstall(site, filesystem)]

    execute(context, site, change, plan)
    return 0


def _purge(site: Site, change: ChangeOptions) -> int:
    """Remove the whole home, and what belongs to it elsewhere."""
    filesystem = DiskFilesystem(os.path.dirname(site.home))
    inside = DiskFilesystem(site.home)
    whole = Change(site.home, "installation", "removed", RemoveTree(os.path.basename(site.home)))
    elsewhere = [
        item
        for item in (*plan_remove_services(site, inside), *plan_uninstall(site, inside))
        if item.operation and not item.path.startswith(f"{site.home}/")
    ]
    if change.preview_only:
        print_plan([*elsewhere, whole], filesystem, change.as_json, change.diff, change.verbose)
        return 0
    require_owner(site.home)
    demand_own(site)
    waiting = queued_messages(site)
    messages = "1 message" if waiting == 1 else f"{waiting} messages"
    lines = [f"Would remove {site.home} with settings, users, aliases, mail, history and {messages} in the queue."]
    require_consent(lines, "This cannot be undone. Continue?", change, always=True)
    with locked(f"{site.home}/{LOCK}"):
        apply_changes(elsewhere, inside, lambda operation: None)
        shutil.rmtree(site.home)
    if change.as_json:
        print_json("change-1", installation=site.home, transaction=None, dry_run=False, changes=[], notes=[])
    else:
        echo(f"Removed {site.home}")
        echo(count_text(len(elsewhere) + 1, 0))
    return 0
