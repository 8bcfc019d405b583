"""`eqmail setup`: make an installation what its table says, once or again."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

import click

from eqmail_core.site.layout import LAYOUTS
from eqmail_core.site.site import Site
from eqmail_setup.cli.progress import progress
from eqmail_setup.errors import FOUND, privilege
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.build_config import kept_site
from eqmail_setup.installation.detection import demand_harmless
from eqmail_setup.installation.loading import (
    Opened,
    demand_accounts,
    demand_own,
    demand_short,
    locked,
    open_installation,
)
from eqmail_setup.installation.manifest import hierarchy
from eqmail_setup.transaction.disk_filesystem import RealWorld
from eqmail_setup.transaction.operations import Action
from eqmail_setup.transaction.plan import Difference, Weight, apply, observe
from eqmail_setup.transaction.staged_filesystem import RecordedWorld
from eqmail_setup.transaction.transaction import LOCK, Manner, changing, described, preview, undertaking

_WORTH_A_BAR = 20


@click.command("setup")
@changing
@click.option("-v", "--verbose", is_flag=True, help="Name every single action.")
@click.option("--root", metavar="DIR", default="", help="Stage below DIR without root; a manifest keeps the owners.")
@click.option("--single-user", is_flag=True, help="An installation of the caller alone, without root.")
@click.option("--conf", metavar="DIR", help="Folder with conf-* files or conf-build; else the current folder.")
@click.option("--layout", metavar="NAME", help=f"Names of the folders: {', '.join(LAYOUTS)}.")
@click.pass_context
def command(
    context: click.Context,
    manner: Manner,
    verbose: bool,
    root: str,
    single_user: bool,
    conf: str | None,
    layout: str | None,
) -> int:
    """Install eQmail, or mend an installation: directories, programs, queue, with their owners and modes.

    Safe to repeat: what is right is left alone, what an administrator edited is kept and named.

    \b
    Examples:
      eqmail setup
      eqmail setup --dry-run
      eqmail --home ~/mail setup --single-user
      eqmail setup --root /tmp/package --layout eqmail-1.11
    """
    root = os.path.abspath(root) if root else ""
    chosen = {"single-user": "yes"} if single_user else {}
    chosen |= {"layout": layout} if layout else {}
    opened = open_installation(context, conf, chosen, root)
    site = opened.site
    only_look = manner.only_look
    is_another = opened.before is not None and kept_site(site.home, root) is None
    demand_short(site.home)
    _demand_privilege(site, bool(root), only_look)
    if not root:
        demand_own(site)
    with ExitStack() as stack:
        run = None
        if not only_look and not root:
            run = stack.enter_context(undertaking(site.home, described(context)))
        elif not only_look:
            stack.enter_context(locked(_lock_of(root)))
        demand_harmless(opened.before, site, root)
        world = RecordedWorld(site.home, root) if root else RealWorld(site.home)
        differences = observe(hierarchy(site, caller(), staged=bool(root)), world)
        if only_look:
            preview(differences, world, manner.as_json, manner.diff)
            return _stuck(differences)
        with _telling(differences, world, verbose) as tell:
            done = run.perform(differences, tell) if run else apply(differences, world, tell)
        if done and not run:
            world.finish()
    _report(opened, differences, done, manner.as_json, root)
    if is_another and not (root or manner.as_json):
        _tell_of_patches(site)
    return _stuck(differences)


def _tell_of_patches(site: Site) -> None:
    """What became of the settings of a qmail that was taken over where it is, as import says it."""
    from eqmail_setup.settings.validation import unknown_files

    for remark in unknown_files(site, sorted(os.listdir(site.control))):
        click.echo(Difference(f"{site.control}/{remark.file}", remark.found, remark.wanted, None, remark.weight).line())


def _demand_privilege(site: Site, staged: bool, only_look: bool) -> None:
    if staged or site.single_user:
        return
    if os.geteuid() != 0 and not only_look:
        raise privilege(
            f"setup of {site.home} needs root, because it gives files to other users; "
            "without root: --single-user for an installation of your own, --root DIR to stage one"
        )
    if not only_look:
        demand_accounts(site)


def _lock_of(root: str) -> str:
    os.makedirs(root, mode=0o755, exist_ok=True)
    return f"{root}/{LOCK}"


def _stuck(differences: list[Difference]) -> int:
    stuck = [
        difference for difference in differences if difference.action is None and difference.weight is Weight.WRONG
    ]
    for difference in stuck:
        click.echo(f"eqmail: {difference.line()}", err=True)
    return FOUND if stuck else 0


@contextmanager
def _telling(differences: list[Difference], world: RealWorld, verbose: bool) -> Iterator[Callable[[Action], None]]:
    """How to tell of each action: by its sentence, by a moving bar on a terminal, or not at all."""
    if verbose:
        yield lambda action: click.echo(action.sentence(world))
    elif len(differences) < _WORTH_A_BAR:
        yield lambda action: None
    else:
        with progress("setting up", len(differences)) as watch:
            numbers = count(1)
            yield lambda action: watch(next(numbers))


def _report(opened: Opened, differences: list[Difference], done: int, as_json: bool, root: str) -> None:
    from eqmail_setup.installation.runtime_access import reachable

    site = opened.site
    warnings = [] if root else reachable(site.single_user)
    kept = [difference for difference in differences if difference.weight is not Weight.WRONG]
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
