"""`eqmail export`: give settings, users, aliases and the queue to a home of another qmail."""

import os

import click

from eqmail_core.site.site import Site
from eqmail_setup.cli.context import require_unstaged_installation, stage_of
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.options import ChangeOptions, migration_options
from eqmail_setup.errors import Severity, permission_required
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.build_config import default_delimiter
from eqmail_setup.installation.manifest import target_manifest
from eqmail_setup.installation.staging import final_site, staged_site
from eqmail_setup.migration.options import MigrationOptions, plan_migration, require_other_home
from eqmail_setup.migration.source import LAYOUT_NAMES, detect_source, layout_of
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.plan import Change, compare_with_manifest


@click.command("export")
@click.argument("folder", metavar="DIR")
@click.option("--to", "kind", metavar="KIND", required=True, help=f"What reads DIR: {', '.join(LAYOUT_NAMES)}.")
@click.option("--split", type=click.IntRange(1, 9973), help="Parts of a queue that is made; else as here.")
@migration_options("the installation", "DIR")
@click.pass_context
def command(
    context: click.Context, folder: str, kind: str, split: int | None, load: MigrationOptions, change: ChangeOptions
) -> int:
    """Give everything that another qmail needs to go on to the home DIR: settings, users, aliases and queue.

    DIR is made where it does not exist; the programs there are the other's own. Both must be stopped. Give the
    command again after an interruption: nothing comes twice.

    \b
    Examples:
      eqmail export --to netqmail /var/netqmail --dry-run
      eqmail export --to netqmail /var/netqmail --move
      eqmail export --to netqmail /var/qmail --root /tmp/package
    """
    stage = stage_of(context)
    site = require_unstaged_installation(context)
    home = os.path.abspath(folder)
    require_other_home(stage + home, site.home, "name another one")
    if os.geteuid() != 0 and not site.single_user:
        raise permission_required(f"export from {site.home} needs root, because it gives files to other users")
    target = staged_site(_target(site, home, kind, split, stage), stage)

    def plan(filesystem: Filesystem) -> list[Change]:
        expected = compare_with_manifest(target_manifest(final_site(target), caller()), filesystem)
        differences = [item for item in expected if item.found == "missing" or not item.operation]
        if target.break_char != site.break_char:
            found = f"the delimiter of {kind} is {target.break_char.decode()!r} as it comes, here {site.break_char!r}"
            build = f"built with {site.break_char.decode()!r} in conf-break"
            differences.append(Change(home, found, build, severity=Severity.INFO))
        return [*differences, *plan_migration(stage + site.home, site, target, f"{home}/", load, filesystem)]

    execute(context, site, change, plan)
    return 0


def _target(site: Site, home: str, kind: str, split: int | None, stage: str) -> Site:
    """What DIR is, or will be."""
    layout = layout_of(kind)
    if os.path.isdir(f"{stage}{home}/{layout.queue}"):
        found = detect_source(stage + home, kind)
        found.home, found.single_user = home, site.single_user
        return found
    return Site(
        home=home,
        layout=layout,
        accounts=site.accounts,
        break_char=default_delimiter(layout),
        split=split or site.split,
        single_user=site.single_user,
    )
