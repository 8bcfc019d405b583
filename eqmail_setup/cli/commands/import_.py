"""`eqmail import`: take over what a home of another qmail has: settings, users, aliases, and the queue."""

import os
from collections.abc import Iterator

import click

from eqmail_core.site.site import Site
from eqmail_setup.diagnostics.checks.old_programs import old_ways
from eqmail_setup.diagnostics.installation_check import of_finding
from eqmail_setup.errors import privilege
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.build_config import Choice, Choices, decide, kept_site
from eqmail_setup.installation.loading import (
    below,
    chosen_home,
    demand_accounts,
    demand_own,
    demand_short,
    stage_of,
    trusted_choices,
)
from eqmail_setup.installation.manifest import hierarchy
from eqmail_setup.mail.aliases import home_of_aliases
from eqmail_setup.migration.options import Load, carried, demand_another, loading, programs_among
from eqmail_setup.migration.source import KINDS, demand_harmless_source, recognised
from eqmail_setup.transaction.filesystem import World
from eqmail_setup.transaction.plan import Difference, Weight, observe
from eqmail_setup.transaction.transaction import Manner, carry_out, demand_consent_to


@click.command("import")
@click.argument("folder", metavar="DIR")
@click.option(
    "--from", "kind", metavar="KIND", default="", help=f"What DIR is, else it is found out: {', '.join(KINDS)}."
)
@click.option("--single-user", is_flag=True, help="Into a new installation of the caller alone, without root.")
@loading("DIR", "the installation")
@click.pass_context
def command(context: click.Context, folder: str, kind: str, single_user: bool, load: Load, manner: Manner) -> int:
    """Adopt the qmail in DIR: its settings, users, aliases and queue come here; DIR stays as it is.

    Where nothing is installed yet it is set up, with the delimiter and the split of DIR. The qmail in DIR must be
    stopped. Give the command again after an interruption, or for messages that came since: nothing comes twice.

    \b
    Examples:
      eqmail --home /var/eqmail import /var/qmail --dry-run
      eqmail --home /var/eqmail import /var/qmail
      eqmail --home /var/eqmail import /var/qmail --from netqmail --move
      eqmail --home /var/eqmail import /srv/old/qmail --root /tmp/package
    """
    stage = stage_of(context)
    source = recognised(os.path.abspath(folder), kind)
    demand_harmless_source(source)
    choices = trusted_choices()
    home = chosen_home(context, choices)
    demand_another(stage + home, source.home, "eqmail setup takes it over where it is")
    chosen = kept_site(home, stage) or _new_site(home, source, choices, single_user)
    demand_short(home)
    if not stage:
        _demand_rights(chosen, manner)
        demand_own(chosen)
    site = below(chosen, stage)

    def plan(world: World) -> list[Difference]:
        found = [
            *observe(hierarchy(chosen, caller(), staged=bool(stage)), world),
            *_choices_that_differ(source, site),
            *home_of_aliases(site),
            *carried(site.home, source, site, "", load, world),
            *(() if stage else _old_ways(chosen, source)),
        ]
        if not manner.only_look:
            demand_consent_to(programs_among(found), "these run as the user of the aliases; go on?", manner)
        return found

    carry_out(context, site, manner, plan)
    return 0


def _old_ways(site: Site, source: Site) -> Iterator[Difference]:
    """What still puts mail into the queue that is left behind."""
    for finding in old_ways(site, [source.home]):
        yield of_finding(finding)._replace(weight=Weight.ADVICE)


def _new_site(home: str, source: Site, choices: Choices, single_user: bool) -> Site:
    """What is chosen for a home that does not exist yet: as in the source, unless conf-* files say otherwise."""
    like: Choices = {
        "break": Choice(source.break_char.decode("latin-1"), source.home),
        "split": Choice(str(source.split), source.home),
    }
    if single_user:
        like["single-user"] = Choice("yes", "--single-user")
    return decide(home, like | choices, None)


def _demand_rights(site: Site, manner: Manner) -> None:
    if not site.single_user:
        if os.geteuid() != 0:
            raise privilege(f"import into {site.home} needs root, because it gives files to other users")
        if not manner.only_look:
            demand_accounts(site)


def _choices_that_differ(source: Site, site: Site) -> Iterator[Difference]:
    found = f"a qmail of the kind {source.layout.name}, {source.split} parts, delimiter {source.break_char.decode()!r}"
    yield Difference(source.home, found, "as it is", weight=Weight.KEPT)
    if source.break_char != site.break_char:
        old, new = source.break_char.decode("latin-1"), site.break_char.decode("latin-1")
        found = f"USER{new}EXTENSION is the user's mail; it was USER{old}EXTENSION in {source.home}"
        wanted = f"as there: write {old!r} to conf-break, then run eqmail setup"
        yield Difference(site.home, found, wanted, weight=Weight.ADVICE)
    if source.split != site.split:
        found = f"{site.split} parts, {source.split} in {source.home}"
        yield Difference(site.queue.root, found, "as it is: messages come into the parts here", weight=Weight.KEPT)
    if source.layout.split_todo != site.layout.split_todo:
        words = {True: "parts", False: "one piece"}
        found = f"todo and intd in {words[site.layout.split_todo]}, there in {words[source.layout.split_todo]}"
        yield Difference(site.queue.root, found, "as it is", weight=Weight.KEPT)
