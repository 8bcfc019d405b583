"""`eqmail quickstart`: from nothing to a running mail server, in one run that can be taken back."""

import json
import os
import shlex
import sys
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

import click

from eqmail_setup.errors import EqmailError, usage_error
from eqmail_setup.installation.loading import demand_own, load_or_propose, locked, require_accounts, require_short_path
from eqmail_setup.network.hostnames import require_host_name
from eqmail_setup.transaction.transaction import (
    LOCK,
    ChangeOptions,
    begin_transaction,
    change_options,
    command_line,
    confirm_irreversible,
    print_plan,
)

if TYPE_CHECKING:
    from eqmail_core.site.site import Site
    from eqmail_setup.quickstart.plan import QuickstartPlan
    from eqmail_setup.transaction.plan import Change

Say = Callable[[str, str], None]


@click.command("quickstart")
@click.argument("fqdn", required=False)
@click.option("--to", metavar="USER", default="", help="Who gets mail for root: an account or an address.")
@click.option("--service", "way", metavar="NAME", help="systemd, openrc, runit, s6, daemontools, sysv, xinetd or none.")
@click.option(
    "--set", "pairs", metavar="KEY=VALUE", multiple=True, help="A setting of the services, as for gen-systemd."
)
@click.option("--root", metavar="DIR", default="", help="Stage below DIR without root; nothing is started.")
@change_options
@click.pass_context
def command(
    context: click.Context,
    manner: ChangeOptions,
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
    from eqmail_setup.installation.detection import require_safe_change
    from eqmail_setup.quickstart.plan import QuickstartPlan, destination, plan_service_changes
    from eqmail_setup.quickstart.preflight import (
        require_alias_home,
        require_free_ports,
        require_readable_python,
        require_root,
    )
    from eqmail_setup.quickstart.services import bundles_of
    from eqmail_setup.services.activation import require_startable
    from eqmail_setup.services.deployments import NONE, detected
    from eqmail_setup.transaction.disk_filesystem import DiskFilesystem

    if not fqdn:
        raise usage_error("give the full name of this host, such as: eqmail quickstart mail.example.org")
    require_host_name(fqdn)
    root = os.path.abspath(root) if root else ""
    opened = load_or_propose(context, root=root)
    site, acts = opened.site, not (manner.preview_only or root)
    require_short_path(site.home)
    if site.single_user:
        raise usage_error(f"{site.home}: is an installation of one user; choose another home with --home DIR")
    if acts:
        require_root()
        demand_own(site)
        require_readable_python()
    way = way or (NONE if root else detected())
    shares = bundles_of(way, site, pairs)
    wanted = QuickstartPlan(site, fqdn, *destination(site, to), shares, staged=bool(root))
    require_safe_change(opened.before, site, root)
    if not acts:
        return _only_write(wanted, manner, root)
    require_alias_home(site)
    for share in shares:
        require_startable(share.flavour, share.pieces)
    if plan_service_changes(wanted, DiskFilesystem(site.home)):
        require_free_ports(site, shares)
    return _do(context, wanted, manner)


def _only_write(wanted: "QuickstartPlan", manner: ChangeOptions, root: str) -> int:
    """Say what would be done, or do what can be done without root below a folder."""
    from eqmail_setup.quickstart.plan import plan_changes
    from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
    from eqmail_setup.transaction.plan import apply_changes
    from eqmail_setup.transaction.staged_filesystem import StagedFilesystem

    site = wanted.site
    if manner.preview_only:
        for words in () if root else _missing_accounts(site):
            click.echo(shlex.join(words), err=manner.as_json)
        world = StagedFilesystem(site.home, root) if root else DiskFilesystem(site.home)
        print_plan(plan_changes(wanted, world), world, manner.as_json, manner.diff)
        return 0
    os.makedirs(root, exist_ok=True)
    with locked(f"{root}/{LOCK}"):
        staged = StagedFilesystem(site.home, root)
        done = apply_changes(_unstuck(plan_changes(wanted, staged)), staged, lambda action: None)
        staged.sync()
    click.echo(
        json.dumps({"home": f"{root}{site.home}", "done": done}) if manner.as_json else f"{root}: {done} things done"
    )
    return 0


def _do(context: click.Context, wanted: "QuickstartPlan", manner: ChangeOptions) -> int:
    """Make accounts, write everything in one run, start it, try it, and tell what is left."""
    from eqmail_setup.cli.progress import progress
    from eqmail_setup.installation.account_creation import create
    from eqmail_setup.quickstart.plan import plan_changes
    from eqmail_setup.settings.reload import running_pid

    site = wanted.site
    say: Say = (lambda stage, line: None) if manner.as_json else (lambda stage, line: click.echo(f"{stage:13} {line}"))
    accounts = _missing_accounts(site)
    _ask(f"Make {wanted.name} a mail server, with its home in {site.home}", manner)
    for words in accounts:
        say("accounts", shlex.join(words))
        create(words)
    require_accounts(site)
    with begin_transaction(site.home, command_line(context)) as run:
        found = _unstuck(plan_changes(wanted, run.world))
        confirm_irreversible(found, run.world, manner)
        counted = count(1)
        with progress("setting up", len(found)) as watch:
            done = run.apply(found, lambda action: watch(next(counted)))
    kept = [item.line() for item in found if item.operation is None]
    ran_before = bool(running_pid(site))
    if not (done or accounts) and (ran_before or not wanted.bundles):
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


def _started(wanted: "QuickstartPlan", ran_before: bool, say: Say) -> dict[str, Any]:
    """Start the services, or make them read the new settings; then the test message."""
    from eqmail_setup.quickstart.preflight import addresses_of
    from eqmail_setup.quickstart.smoke_test import send_test_message
    from eqmail_setup.services.activation import next_steps, start
    from eqmail_setup.settings.reload import reload_services

    steps: list[str] = []
    if ran_before:
        say("services", reload_services(wanted.site))
    for share in wanted.bundles if not ran_before else ():
        links = [step for step in next_steps(share.flavour, share.pieces) if step.startswith("ln ")]
        for step in links:
            say("services", step)
        start(share.flavour, share.pieces, lambda step: say("services", step))
        steps += next_steps(share.flavour, share.pieces)
    addresses = addresses_of(wanted.bundles)
    if not addresses:
        return {"started": [], "delivered": ""}
    for service, host, port in addresses:
        say("listening", f"{service} at {f'[{host}]' if ':' in host else host}:{port}")
    host, port = next((host, port) for service, host, port in addresses if service == "smtp")
    trial = send_test_message(wanted.site, wanted.name, host, port)
    beyond = f"accepted for {trial.recipient}; look for it at {trial.beyond}"
    say("test message", f"delivered: {trial.file}" if trial.file else beyond)
    return {"started": steps, "delivered": trial.file or trial.beyond}


def _tell_rest(wanted: "QuickstartPlan", result: dict[str, Any], manner: ChangeOptions) -> None:
    from eqmail_setup.quickstart.next_steps import dns_records, next_commands

    records, commands = dns_records(wanted), next_commands(wanted)
    if manner.as_json:
        click.echo(json.dumps({**result, "zone": records, "next": [words for words, _ in commands]}, indent=1))
        return
    click.echo(f"\nWhat is left to be done by hand: records in DNS\n\n{records}\nWhat may come next:\n")
    width = max(len(words) for words, _ in commands)
    for words, purpose in commands:
        click.echo(f"  {words:{width}}  # {purpose}")


def _missing_accounts(site: "Site") -> list[tuple[str, ...]]:
    from eqmail_setup.installation.account_creation import (
        AccountDatabase,
        find_account_tool,
        missing_commands,
        nologin_shell,
    )

    return missing_commands(site, AccountDatabase.used_ids(), find_account_tool(), nologin_shell())


def _unstuck(found: "list[Change]") -> "list[Change]":
    from eqmail_setup.transaction.plan import Severity

    for item in found:
        if item.operation is None and item.severity is Severity.ERROR:
            raise EqmailError(item.line())
    return found


def _ask(question: str, manner: ChangeOptions) -> None:
    if manner.yes or manner.as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    if not click.confirm(f"{question}?", default=True):
        raise EqmailError("nothing was done; --dry-run says what would be")
