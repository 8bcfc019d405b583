"""`eqmail quickstart`: from nothing to a running mail server, in one run that can be taken back."""

import json
import os
import shlex
import sys
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

import click

from eqmail_setup.errors import Refusal, usage
from eqmail_setup.installation.loading import demand_accounts, demand_own, demand_short, locked, open_installation
from eqmail_setup.network.hostnames import demand_host_name
from eqmail_setup.transaction.transaction import LOCK, Manner, changing, demand_consent, described, preview, undertaking

if TYPE_CHECKING:
    from eqmail_core.site.site import Site
    from eqmail_setup.quickstart.plan import Wanted
    from eqmail_setup.transaction.plan import Difference

Say = Callable[[str, str], None]


@click.command("quickstart")
@click.argument("fqdn", required=False)
@click.option("--to", metavar="USER", default="", help="Who gets mail for root: an account or an address.")
@click.option("--service", "way", metavar="NAME", help="systemd, openrc, runit, s6, daemontools, sysv, xinetd or none.")
@click.option(
    "--set", "pairs", metavar="KEY=VALUE", multiple=True, help="A setting of the services, as for gen-systemd."
)
@click.option("--root", metavar="DIR", default="", help="Stage below DIR without root; nothing is started.")
@changing
@click.pass_context
def command(
    context: click.Context,
    manner: Manner,
    fqdn: str | None,
    to: str,
    way: str | None,
    pairs: tuple[str, ...],
    root: str,
) -> int:
    """Make this host, whose full name is FQDN, a mail server: accounts, files, settings, services, and a test message.

    It takes mail for people at FQDN on port 25, and from those who log in on the ports 587 and 465; TLS everywhere, no
    relaying for strangers. What exists is kept; a second run has nothing to do; eqmail rollback takes it back.

    \b
    Examples:
      eqmail quickstart mail.example.org --dry-run
      eqmail quickstart mail.example.org --to joe
      eqmail quickstart mail.example.org --service runit --set smtp.port=2525 --yes
    """
    from eqmail_setup.installation.detection import demand_harmless
    from eqmail_setup.quickstart.plan import Wanted, destination, of_services
    from eqmail_setup.quickstart.preflight import (
        demand_aliases_at_home,
        demand_free_ports,
        demand_readable_python,
        demand_root,
    )
    from eqmail_setup.quickstart.services import shares_of
    from eqmail_setup.services.activation import demand_startable
    from eqmail_setup.services.deployments import NONE, detected
    from eqmail_setup.transaction.disk_filesystem import RealWorld

    if not fqdn:
        raise usage("give the full name of this host, such as: eqmail quickstart mail.example.org")
    demand_host_name(fqdn)
    root = os.path.abspath(root) if root else ""
    opened = open_installation(context, root=root)
    site, acts = opened.site, not (manner.only_look or root)
    demand_short(site.home)
    if site.single_user:
        raise usage(f"{site.home}: is an installation of one user; choose another home with --home DIR")
    if acts:
        demand_root()
        demand_own(site)
        demand_readable_python()
    way = way or (NONE if root else detected())
    shares = shares_of(way, site, pairs)
    wanted = Wanted(site, fqdn, *destination(site, to), shares, staged=bool(root))
    demand_harmless(opened.before, site, root)
    if not acts:
        return _only_write(wanted, manner, root)
    demand_aliases_at_home(site)
    for share in shares:
        demand_startable(share.flavour, share.pieces)
    if of_services(wanted, RealWorld(site.home)):
        demand_free_ports(site, shares)
    return _do(context, wanted, manner)


def _only_write(wanted: "Wanted", manner: Manner, root: str) -> int:
    """Say what would be done, or do what can be done without root below a folder."""
    from eqmail_setup.quickstart.plan import differences
    from eqmail_setup.transaction.disk_filesystem import RealWorld
    from eqmail_setup.transaction.plan import apply
    from eqmail_setup.transaction.staged_filesystem import RecordedWorld

    site = wanted.site
    if manner.only_look:
        for words in () if root else _missing_accounts(site):
            click.echo(shlex.join(words), err=manner.as_json)
        world = RecordedWorld(site.home, root) if root else RealWorld(site.home)
        preview(differences(wanted, world), world, manner.as_json, manner.diff)
        return 0
    os.makedirs(root, exist_ok=True)
    with locked(f"{root}/{LOCK}"):
        staged = RecordedWorld(site.home, root)
        done = apply(_unstuck(differences(wanted, staged)), staged, lambda action: None)
        staged.finish()
    click.echo(
        json.dumps({"home": f"{root}{site.home}", "done": done}) if manner.as_json else f"{root}: {done} things done"
    )
    return 0


def _do(context: click.Context, wanted: "Wanted", manner: Manner) -> int:
    """Make accounts, write everything in one run, start it, try it, and tell what is left."""
    from eqmail_setup.cli.progress import progress
    from eqmail_setup.installation.account_creation import create
    from eqmail_setup.quickstart.plan import differences
    from eqmail_setup.settings.reload import running_pid

    site = wanted.site
    say: Say = (lambda stage, line: None) if manner.as_json else (lambda stage, line: click.echo(f"{stage:13} {line}"))
    accounts = _missing_accounts(site)
    _ask(f"Make {wanted.name} a mail server, with its home in {site.home}", manner)
    for words in accounts:
        say("accounts", shlex.join(words))
        create(words)
    demand_accounts(site)
    with undertaking(site.home, described(context)) as run:
        found = _unstuck(differences(wanted, run.world))
        demand_consent(found, run.world, manner)
        counted = count(1)
        with progress("setting up", len(found)) as watch:
            done = run.perform(found, lambda action: watch(next(counted)))
    kept = [item.line() for item in found if item.action is None]
    ran_before = bool(running_pid(site))
    if not (done or accounts) and (ran_before or not wanted.shares):
        click.echo(
            json.dumps({"home": site.home, "run": 0, "done": 0, "kept": kept}) if manner.as_json else "nothing to do"
        )
        return 0
    say(
        "files",
        f"{done} things done in {site.home} and for the services (run {run.number})" if done else "as they should be",
    )
    for line in kept:
        say("kept", line)
    result: dict[str, Any] = {"home": site.home, "run": run.number, "done": done, "kept": kept}
    result |= _started(wanted, ran_before, say)
    _tell_rest(wanted, result, manner)
    return 0


def _started(wanted: "Wanted", ran_before: bool, say: Say) -> dict[str, Any]:
    """Start the services, or make them read the new settings; then the test message."""
    from eqmail_setup.quickstart.preflight import addresses_of
    from eqmail_setup.quickstart.smoke_test import try_out
    from eqmail_setup.services.activation import next_steps, start
    from eqmail_setup.settings.reload import reload_services

    steps: list[str] = []
    if ran_before:
        say("services", reload_services(wanted.site))
    for share in wanted.shares if not ran_before else ():
        links = [step for step in next_steps(share.flavour, share.pieces) if step.startswith("ln ")]
        for step in links:
            say("services", step)
        start(share.flavour, share.pieces, lambda step: say("services", step))
        steps += next_steps(share.flavour, share.pieces)
    addresses = addresses_of(wanted.shares)
    if not addresses:
        return {"started": [], "delivered": ""}
    for service, host, port in addresses:
        say("listening", f"{service} at {f'[{host}]' if ':' in host else host}:{port}")
    host, port = next((host, port) for service, host, port in addresses if service == "smtp")
    trial = try_out(wanted.site, wanted.name, host, port)
    beyond = f"accepted for {trial.recipient}; look for it at {trial.beyond}"
    say("test message", f"delivered: {trial.file}" if trial.file else beyond)
    return {"started": steps, "delivered": trial.file or trial.beyond}


def _tell_rest(wanted: "Wanted", result: dict[str, Any], manner: Manner) -> None:
    from eqmail_setup.quickstart.next_steps import next_commands, zone

    records, commands = zone(wanted), next_commands(wanted)
    if manner.as_json:
        click.echo(json.dumps({**result, "zone": records, "next": [words for words, _ in commands]}, indent=1))
        return
    click.echo(f"\nWhat is left to be done by hand: records in DNS\n\n{records}\nWhat may come next:\n")
    width = max(len(words) for words, _ in commands)
    for words, purpose in commands:
        click.echo(f"  {words:{width}}  # {purpose}")


def _missing_accounts(site: "Site") -> list[tuple[str, ...]]:
    from eqmail_setup.installation.account_creation import Census, missing_commands, shell_of_nobody, tool_of_system

    return missing_commands(site, Census.taken(), tool_of_system(), shell_of_nobody())


def _unstuck(found: "list[Difference]") -> "list[Difference]":
    from eqmail_setup.transaction.plan import Weight

    for item in found:
        if item.action is None and item.weight is Weight.WRONG:
            raise Refusal(item.line())
    return found


def _ask(question: str, manner: Manner) -> None:
    if manner.yes or manner.as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    if not click.confirm(f"{question}?", default=True):
        raise Refusal("nothing was done; --dry-run says what would be")
