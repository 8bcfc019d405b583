"""`eqmail export`: give settings, users, aliases and the queue to a home of another qmail."""

import os

import click

from eqmail_core.values.site import Site
from eqmail_setup.bringing import bringing
from eqmail_setup.carrying import Route, carrying
from eqmail_setup.choices import usual_break
from eqmail_setup.hierarchy import foreign_hierarchy
from eqmail_setup.opened import demand_installation
from eqmail_setup.other_homes import KINDS, layout_of, recognised
from eqmail_setup.plan import Difference, Weight, observe
from eqmail_setup.refusal import privilege, usage
from eqmail_setup.undertaking import Manner, carry_out, changing
from eqmail_setup.who import caller
from eqmail_setup.world import World


@click.command("export")
@click.argument("folder", metavar="DIR")
@click.option("--to", "kind", metavar="KIND", required=True, help=f"What reads DIR: {', '.join(KINDS)}.")
@click.option("--split", type=click.IntRange(1, 9973), help="Parts of a queue that is made; else as here.")
@click.option("--move", is_flag=True, help="Remove the messages from here once they are there.")
@click.option("--no-queue", is_flag=True, help="Leave the queue alone.")
@click.option("--replace", is_flag=True, help="Also where a file in DIR differs from that here.")
@changing
@click.pass_context
def command(
    context: click.Context,
    folder: str,
    kind: str,
    split: int | None,
    move: bool,
    no_queue: bool,
    replace: bool,
    manner: Manner,
) -> int:
    """Give everything that another qmail needs to go on to the home DIR: settings, users, aliases and queue.

    DIR is made where it does not exist; the programs there are the other's own. Both must be stopped. Give the
    command again after an interruption: nothing comes twice.

    \b
    Examples:
      eqmail export --to netqmail /var/netqmail --dry-run
      eqmail export --to netqmail /var/netqmail --move
    """
    site = demand_installation(context)
    home = os.path.abspath(folder)
    if os.path.realpath(home) == os.path.realpath(site.home):
        raise usage(f"{home}: is the home that this command works on; name another one")
    if os.geteuid() != 0 and not site.single_user:
        raise privilege(f"export from {site.home} needs root, because it gives files to other users")
    target = _target(site, home, kind, split)

    def plan(world: World) -> list[Difference]:
        wanted = observe(foreign_hierarchy(target, caller()), world)
        differences = [item for item in wanted if item.found == "missing" or not item.action]
        if target.break_char != site.break_char:
            found = f"the delimiter of {kind} is {target.break_char.decode()!r} as it comes, here {site.break_char!r}"
            build = f"built with {site.break_char.decode()!r} in conf-break"
            differences.append(Difference(home, found, build, weight=Weight.ADVICE))
        differences += carrying(Route(site, target, f"{home}/", replace), world)
        return differences if no_queue else [*differences, *bringing(site.home, site, target, move)]

    carry_out(context, site, manner, plan)
    return 0


def _target(site: Site, home: str, kind: str, split: int | None) -> Site:
    """What DIR is, or will be."""
    layout = layout_of(kind)
    if os.path.isdir(f"{home}/{layout.queue}"):
        found = recognised(home, kind)
        found.single_user = site.single_user
        return found
    return Site(
        home=home,
        layout=layout,
        accounts=site.accounts,
        break_char=usual_break(layout),
        split=split or site.split,
        single_user=site.single_user,
    )
