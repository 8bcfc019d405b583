"""`eqmail setup`: bring an installation to the state of its manifest; safe to repeat."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

import click

from eqmail_core.site.layout import LAYOUTS
from eqmail_core.site.site import Site
from eqmail_setup.cli.context import load_or_propose
from eqmail_setup.cli.execute import command_line, print_plan
from eqmail_setup.cli.options import ChangeOptions, change_options
from eqmail_setup.cli.progress import progress
from eqmail_setup.errors import ExitCode, Severity, permission_required
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.build_config import load_site
from eqmail_setup.installation.detection import require_safe_change
from eqmail_setup.installation.loading import LoadedInstallation, demand_own, require_accounts, require_short_path
from eqmail_setup.installation.lock import LOCK, locked
from eqmail_setup.installation.manifest import installation_manifest
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
from eqmail_setup.transaction.operations import Operation
from eqmail_setup.transaction.plan import Change, apply_changes, compare_with_manifest
from eqmail_setup.transaction.staged_filesystem import StagedFilesystem
from eqmail_setup.transaction.transaction import begin_transaction

_WORTH_A_BAR = 20


@click.command("setup")
@change_options
@click.option("-v", "--verbose", is_flag=True, help="Name every single action.")
@click.option("--root", metavar="DIR", default="", help="Stage below DIR without root; a manifest keeps the owners.")
@click.option("--single-user", is_flag=True, help="An installation of the caller alone, without root.")
@click.option("--conf", metavar="DIR", help="Folder with conf-* files or conf-build; else the current folder.")
@click.option("--layout", metavar="NAME", help=f"Names of the folders: {', '.join(LAYOUTS)}.")
@click.option("--queue", metavar="PLACE", help="directory, or postgresql:CONNECTION to share it among nodes.")
@click.pass_context
def command(
    context: click.Context,
    change: ChangeOptions,
    verbose: bool,
    root: str,
    single_user: bool,
    conf: str | None,
    layout: str | None,
    queue: str | None,
) -> int:
    """Install eQmail, or mend an installation: directories, programs, queue, with their owners and modes.

    Safe to repeat: what is right is left alone, what an administrator edited is kept and named.

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
            run = stack.enter_context(begin_transaction(site.home, command_line(context)))
        elif not only_look:
            stack.enter_context(locked(_lock_of(root)))
        require_safe_change(opened.before, site, root)
        filesystem = StagedFilesystem(site.home, root) if root else DiskFilesystem(site.home)
        differences = compare_with_manifest(installation_manifest(site, caller(), staged=bool(root)), filesystem)
        if only_look:
            print_plan(differences, filesystem, change.as_json, change.diff)
            return _stuck(differences)
        with _reporter(differences, filesystem, verbose) as tell:
            done = run.apply(differences, tell) if run else apply_changes(differences, filesystem, tell)
        if done and not run:
            filesystem.sync()
    _report(opened, differences, done, change.as_json, root)
    if is_another and not (root or change.as_json):
        _tell_of_patches(site)
    return _stuck(differences)


def _tell_of_patches(site: Site) -> None:
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


def _stuck(differences: list[Change]) -> int:
    stuck = [
        difference
        for difference in differences
        if difference.operation is None and difference.severity is Severity.ERROR
    ]
    for difference in stuck:
        click.echo(f"eqmail: {difference.line()}", err=True)
    return ExitCode.FAILED if stuck else 0


@contextmanager
def _reporter(
    differences: list[Change], filesystem: DiskFilesystem, verbose: bool
) -> Iterator[Callable[[Operation], None]]:
    """The reporter of each action: a line each, a progress bar on a terminal, or none."""
    if verbose:
        yield lambda action: click.echo(action.describe(filesystem))
    elif len(differences) < _WORTH_A_BAR:
        yield lambda action: None
    else:
        with progress("setting up", len(differences)) as watch:
            numbers = count(1)
            yield lambda action: watch(next(numbers))


def _report(opened: LoadedInstallation, differences: list[Change], done: int, as_json: bool, root: str) -> None:
    from eqmail_setup.installation.runtime_access import is_accessible

    site = opened.site
    warnings = [] if root else is_accessible(site.single_user)
    kept = [difference for difference in differences if difference.severity is not Severity.ERROR]
    if as_json:
        lines = [difference.line() for difference in warnings]
        click.echo(json.dumps({"home": site.home, "done": done, "kept": [k.path for k in kept], "warnings": lines}))
        return
    for difference in kept:
        click.echo(difference.line())
    for difference in warnings:
        click.echo(f"eqmail: warning: {difference.line()}", err=True)
    where = f"{root}{site.home}"
    click.echo(f"{where}: {done} things done, all as it should be" if done else f"{where}: nothing to do")
