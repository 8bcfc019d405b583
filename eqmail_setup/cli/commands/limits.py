"""`eqmail limits`: what submitters have used of their limits."""

import time

import click

from eqmail_core.site.site import Site
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.options import json_option
from eqmail_setup.cli.output import Column, echo, print_json, print_note, print_table

MAX_ROWS = 50
"""Limits that are shown without --all."""


@click.command("limits")
@click.argument("submitter", required=False, default="")
@click.option("--all", "everything", is_flag=True, help=f"Show all, not only the {MAX_ROWS} nearest to their limits.")
@json_option
@click.pass_context
def command(context: click.Context, submitter: str, everything: bool, as_json: bool) -> int:
    """Show what submitters have used of their limits (control/submissionlimits), those nearest to a limit first.

    SUBMITTER is a login, a uid or an address. The services write the figures every ten seconds.

    \b
    Examples:
      eqmail limits
      eqmail limits joe@example.org
      eqmail config add submissionlimits "login * messages=200/h recipients=1000/d"
      eqmail queue list --where "state=held login=joe@example.org"
    """
    from eqmail_setup.mail.limits import used_limits

    site = require_installation(context)
    found = [it for it in used_limits(site, time.time()) if submitter in ("", it.name)]
    if as_json:
        print_json("limits-1", limits=[it._asdict() for it in found])
        return 0
    shown = found if everything else found[:MAX_ROWS]
    rows = [
        (it.kind, it.name, it.limit, f"{it.used} of {it.burst}", _period(it.free_in_s), str(it.over or ""))
        for it in shown
    ]
    if not rows:
        print_note(_why_nothing(site))
        return 0
    print_table(
        [*map(Column, ("KIND", "NAME", "LIMIT")), *(Column(name, right=True) for name in ("USED", "FREE", "OVER"))],
        rows,
    )
    if len(shown) < len(found):
        echo(f"{len(found) - len(shown)} more; --all shows them")
    return 0


def _period(seconds: int) -> str:
    from eqmail_setup.queue.presentation import age

    return f"in {age(seconds)}"


def _why_nothing(site: Site) -> str:
    from eqmail_core.control.controls import Controls
    from eqmail_core.system.installation import read_controls

    if not read_controls(site).submissionlimits:
        return f"there are no limits: control/{Controls.submissionlimits.file} is absent or empty"
    return "nothing is used of any limit"
