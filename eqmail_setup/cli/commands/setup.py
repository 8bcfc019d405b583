"""`eqmail setup`: bring an installation to the state of its manifest; safe to repeat."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

import click

from eqmail_core.site.layout import LAYOUTS
from eqmail_core.site.site import Site
from eqmail_setup.cli.context import load_or_propose
from eqmail_setup.cli.execute import change_value, command_line, print_plan, report
from eqmail_setup.cli.options import ChangeOptions, change_options
from eqmail_setup.cli.output import print_error, print_note, print_warning
from eqmail_setup.cli.progress import progress
from eqmail_setup.errors import ExitCode, permission_required
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.build_config import load_site
from eqmail_setup.installation.detection import require_safe_change
from eqmail_setup.installation.loading import demand_own, require_accounts, require_short_path
from eqmail_setup.installation.lock import LOCK, locked
from eqmail_setup.installation.manifest import installation_manifest
from eqmail_setup.installation.runtime_access import is_accessible
from eqmail_setup.installation.system_links import plan_system_links
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
from eqmail_setup.transaction.operations import Operation
from eqmail_setup.transaction.plan import Change, Plan, apply_changes, compare_with_manifest
from eqmail_setup.transaction.staged_filesystem import StagedFilesystem
from eqmail_setup.transaction.transaction import begin_transaction

_WORTH_A_BAR = 20


@click.command("setup")
@change_options
@click.option(
    "--root", metavar="DIR", default="", help="Write below the staging root DIR; a manifest lists the owners."
)
@click.option("--single-user", is_flag=True, help="Create an installation of the caller alone, without root.")
@click.option("--conf", metavar="DIR", help="Folder with conf-* files or conf-build; default: the current folder.")
@click.option("--layout", metavar="NAME", help=f"Layout of the folders: {', '.join(LAYOUTS)}.")
@click.option("--queue", metavar="PLACE", help="directory, or postgresql:CONNECTION to share it among nodes.")
@click.pass_context
def command(
    context: click.Context,
    change: ChangeOptions,
    root: str,
    single_user: bool,
    conf: str | None,
    layout: str | None,
    queue: str | None,
) -> int:
    """Install eQmail or repair an installation: directories, programs, manuals and queue, with owners and modes.

    Safe to repeat. Locally modified files are kept and listed. Run as root, it links /usr/local/bin/eqmail and the
    manual pages to an installation in /var/qmail.

    \b
    Examples:
      eqmail setup
      eqmail setup --dry-run
      eqmail --home ~/mail setup --single-user
      eqmail setup --root /tmp/package --layout eqmail-1.11
      eqmail setup --queue "postgresql:host=db1,db2 dbname=eqmail user=qmailq"
    """
    root = os.path.abspath(root) if root else ""
    chosen = {"single-user": "yes"} if single_user else {}
    chosen |= {"layout": layout} if layout else {}
    chosen |= {"queue": queue} if queue else {}
    opened = load_or_propose(context, conf, chosen, root)
    site = opened.site
    only_look = change.preview_only
    is_another = opened.before is not None and load_site(site.home, root) is None
    require_short_path(site.home)
    _demand_privilege(site, bool(root), only_look)
    if not root:
        demand_own(site)
    with ExitStack() as stack:
        run = None
        if not only_look and not root:
            run = stack.enter_context(begin_transaction(site.home, command_line(context), print_note))
        elif not only_look:
            stack.enter_context(locked(_lock_of(root)))
        require_safe_change(opened.before, site, root)
        filesystem = StagedFilesystem(site.home, root) if root else DiskFilesystem(site.home)
        items = compare_with_manifest(installation_manifest(site, caller(), staged=bool(root)), filesystem)
        plan = Plan.of([*items, *(() if root else plan_system_links(site, filesystem))])
        if only_look:
            print_plan([*plan.changes, *plan.notes], filesystem, change.as_json, change.diff, change.verbose)
            return _report_blockers(plan)
        values = [change_value(operation, filesystem) for operation in plan.operations] if change.as_json else []
        done = [operation.describe(filesystem) for operation in plan.operations]
        with _bar(len(plan.changes)) as on_operation:
            run.apply(plan.changes, on_operation) if run else apply_changes(plan.changes, filesystem, on_operation)
        if done and not run:
            filesystem.sync()
    if not root:
        for warning in is_accessible(site.single_user):
            print_warning(warning.line())
    report(f"{root}{site.home}", run.number if run else 0, done, plan.notes, change, values)
    if is_another and not (root or change.as_json):
        _report_unknown_settings(site)
    return _report_blockers(plan)


def _report_unknown_settings(site: Site) -> None:
    """What happened to the settings of a qmail converted in place, in the form of the import report."""
    from eqmail_setup.settings.validation import unknown_files

    for problem in unknown_files(site, sorted(os.listdir(site.control))):
        click.echo(
            Change(f"{site.control}/{problem.file}", problem.found, problem.expected, None, problem.severity).line()
        )


def _demand_privilege(site: Site, staged: bool, only_look: bool) -> None:
    if staged or site.single_user:
        return
    if os.geteuid() != 0 and not only_look:
        raise permission_required(
            f"setup of {site.home} needs root, because it gives files to other users; "
            "without root: --single-user for an installation of your own, --root DIR to stage one"
        )
    if not only_look:
        require_accounts(site)


def _lock_of(root: str) -> str:
    os.makedirs(root, mode=0o755, exist_ok=True)
    return f"{root}/{LOCK}"


def _report_blockers(plan: Plan) -> int:
    for item in plan.blockers:
        print_error(item.line())
    return ExitCode.FAILED if plan.blockers else ExitCode.OK


@contextmanager
def _bar(total: int) -> Iterator[Callable[[Operation], None]]:
    """A progress bar for each operation, where there are many."""
    if total < _WORTH_A_BAR:
        yield lambda operation: None
        return
    with progress("Setting up", total) as show:
        numbers = count(1)
        yield lambda operation: show(next(numbers))
