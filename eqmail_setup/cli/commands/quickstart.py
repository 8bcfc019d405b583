"""`eqmail quickstart`: from nothing to a running mail server, in one run that can be taken back."""

import json
import os
import shlex
import sys
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

import click

from eqmail_setup.cli.context import load_or_propose
from eqmail_setup.cli.execute import NOTHING, command_line, confirm_irreversible, print_plan
from eqmail_setup.cli.options import ChangeOptions, change_options
from eqmail_setup.cli.output import print_note, print_warning
from eqmail_setup.errors import EqmailError, usage_error
from eqmail_setup.installation.loading import demand_own, require_accounts, require_short_path
from eqmail_setup.installation.lock import LOCK, locked
from eqmail_setup.network.hostnames import require_host_name
from eqmail_setup.transaction.transaction import begin_transaction, filesystem_for

if TYPE_CHECKING:
    from eqmail_core.site.site import Site
    from eqmail_setup.quickstart.plan import QuickstartPlan
    from eqmail_setup.transaction.plan import Change

Say = Callable[[str, str], None]


@click.command("quickstart")
@click.argument("fqdn", required=False)
@click.option("--to", metavar="USER", default="", help="Who gets mail for root: an account or an address.")
@click.option(
    "--service", "deployment", metavar="NAME", help="systemd, openrc, runit, s6, daemontools, sysv, xinetd or none."
)
@click.option(
    "--set", "pairs", metavar="KEY=VALUE", multiple=True, help="A setting of the services, as for gen-systemd."
)
@click.option(
    "--cert",
    "authority",
    type=click.Choice(("self-signed", "letsencrypt", "letsencrypt-staging")),
    default="self-signed",
    show_default=True,
    help="Who issues the certificate; asking Let's Encrypt accepts its terms.",
)
@click.option("--root", metavar="DIR", default="", help="Stage below DIR without root; nothing is started.")
@change_options
@click.pass_context
def command(
    context: click.Context,
    change: ChangeOptions,
    fqdn: str | None,
    to: str,
    deployment: str | None,
    pairs: tuple[str, ...],
    authority: str,
    root: str,
) -> int:
    """Make this host, whose full name is FQDN, a mail server: accounts, files, settings, services, and a test message.

    It takes mail for people at FQDN on port 25, and from those who log in on the ports 587 and 465; TLS everywhere, no
    relaying for others. What exists is kept; a second run changes nothing; eqmail rollback undoes it.

    \b
    Examples:
      eqmail quickstart mail.example.org --dry-run
      eqmail quickstart mail.example.org --to joe --cert letsencrypt
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
    from eqmail_setup.services.state import load_services
    from eqmail_setup.transaction.disk_filesystem import DiskFilesystem

    if not fqdn:
        raise usage_error("give the full name of this host, such as: eqmail quickstart mail.example.org")
    require_host_name(fqdn)
    root = os.path.abspath(root) if root else ""
    opened = load_or_propose(context, root=root)
    site, acts = opened.site, not (change.preview_only or root)
    require_short_path(site.home)
    if site.single_user:
        raise usage_error(f"{site.home}: is an installation of one user; choose another home with --home DIR")
    if acts:
        require_root()
        demand_own(site)
        require_readable_python()
    deployment = deployment or (NONE if root else detected())
    installed = load_services(site, filesystem_for(site, root))
    bundles = bundles_of(deployment, site, pairs, installed)
    expected = QuickstartPlan(site, fqdn, *destination(site, to), bundles, staged=bool(root))
    require_safe_change(opened.before, site, root)
    if not acts:
        return _only_write(expected, change, root)
    require_alias_home(site)
    for bundle in bundles:
        require_startable(bundle.manager, bundle.pieces)
    if plan_service_changes(expected, DiskFilesystem(site.home)):
        require_free_ports(site, bundles)
    return _do(context, expected, change, authority)


def _only_write(expected: "QuickstartPlan", change: ChangeOptions, root: str) -> int:
    """Say what would be done, or do what can be done without root below a folder."""
    from eqmail_setup.quickstart.plan import plan_changes
    from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
    from eqmail_setup.transaction.plan import apply_changes
    from eqmail_setup.transaction.staged_filesystem import StagedFilesystem

    site = expected.site
    if change.preview_only:
        for words in () if root else _missing_accounts(site):
            click.echo(shlex.join(words), err=change.as_json)
        filesystem = StagedFilesystem(site.home, root) if root else DiskFilesystem(site.home)
        print_plan(plan_changes(expected, filesystem), filesystem, change.as_json, change.diff, change.verbose)
        return 0
    os.makedirs(root, exist_ok=True)
    with locked(f"{root}/{LOCK}"):
        staged = StagedFilesystem(site.home, root)
        done = apply_changes(_unstuck(plan_changes(expected, staged)), staged, lambda action: None)
        staged.sync()
    click.echo(
        json.dumps({"home": f"{root}{site.home}", "done": done}) if change.as_json else f"{root}: {done} changes."
    )
    return 0


def _do(context: click.Context, expected: "QuickstartPlan", change: ChangeOptions, authority: str) -> int:
    """Create accounts, write all files in one transaction, start the services, test them, and report what remains."""
    from eqmail_setup.cli.progress import progress
    from eqmail_setup.installation.account_creation import create
    from eqmail_setup.installation.system_links import plan_system_links
    from eqmail_setup.quickstart.plan import plan_changes
    from eqmail_setup.settings.reload import running_pid

    site = expected.site
    write_line: Say = (
        (lambda stage, line: None) if change.as_json else (lambda stage, line: click.echo(f"{stage:13} {line}"))
    )
    accounts = _missing_accounts(site)
    _ask(f"Make {expected.name} a mail server, with its home in {site.home}", change)
    for words in accounts:
        write_line("accounts", shlex.join(words))
        create(words)
    require_accounts(site)
    with begin_transaction(site.home, command_line(context), print_note) as run:
        found = _unstuck([*plan_changes(expected, run.filesystem), *plan_system_links(site, run.filesystem)])
        confirm_irreversible(found, run.filesystem, change)
        counted = count(1)
        with progress("setting up", len(found)) as watch:
            done = run.apply(found, lambda action: watch(next(counted)))
    kept = [item.line() for item in found if item.operation is None]
    ran_before = bool(running_pid(site))
    is_issued = authority == "self-signed" or _is_issued(site)
    if not (done or accounts) and is_issued and (ran_before or not expected.bundles):
        click.echo(json.dumps({"home": site.home, "run": 0, "done": 0, "kept": kept}) if change.as_json else NOTHING)
        return 0
    write_line(
        "files",
        f"{done} changes in {site.home} and for the services (transaction {run.number})" if done else "up to date",
    )
    for line in kept:
        write_line("kept", line)
    result: dict[str, Any] = {"home": site.home, "run": run.number, "done": done, "kept": kept}
    result |= _started(expected, ran_before, write_line)
    if not is_issued:
        result["certificate"] = _obtain_certificate(context, expected, authority, write_line)
    _tell_rest(expected, result, change)
    return 0


def _is_issued(site: "Site") -> bool:
    """Whether an ACME authority has issued the certificate."""
    return os.path.exists(f"{site.home}/acme/certificate.json")


def _obtain_certificate(
    context: click.Context, expected: "QuickstartPlan", authority: str, write_line: Say
) -> dict[str, str]:
    """Ask an authority for a certificate; where that fails the self-signed one stays, and the reason is told."""
    from eqmail_setup.quickstart.certificate import obtain_certificate, order_of, renew_regularly

    order = order_of(expected.name, authority)
    assert order is not None
    try:
        number = obtain_certificate(
            expected.site, order, command_line(context), lambda text: write_line("certificate", text)
        )
        renew_regularly(expected.site)
    except EqmailError as error:
        print_warning(f"the self-signed certificate stays: {error.text}", ("eqmail", "cert", "acme", "--agree-tos"))
        return {"problem": error.text}
    write_line("certificate", f"issued by {order.server} (transaction {number}); renewed twice a day when it is time")
    return {"server": order.server}


def _started(expected: "QuickstartPlan", ran_before: bool, write_line: Say) -> dict[str, Any]:
    """Start the services, or make them read the new settings; then the test message."""
    from eqmail_setup.quickstart.preflight import addresses_of
    from eqmail_setup.quickstart.smoke_test import send_test_message
    from eqmail_setup.services.activation import next_steps, start
    from eqmail_setup.settings.reload import reload_services

    steps: list[str] = []
    if ran_before:
        write_line("services", reload_services(expected.site))
    for bundle in expected.bundles if not ran_before else ():
        links = [step for step in next_steps(bundle.manager, bundle.pieces) if step.startswith("ln ")]
        for step in links:
            write_line("services", step)
        start(bundle.manager, bundle.pieces, lambda step: write_line("services", step))
        steps += next_steps(bundle.manager, bundle.pieces)
    addresses = addresses_of(expected.bundles)
    if not addresses:
        return {"started": [], "delivered": ""}
    for service, host, port in addresses:
        write_line("listening", f"{service} at {f'[{host}]' if ':' in host else host}:{port}")
    host, port = next((host, port) for service, host, port in addresses if service == "smtp")
    test = send_test_message(expected.site, expected.name, host, port)
    beyond = f"accepted for {test.recipient}; look for it at {test.beyond}"
    write_line("test message", f"delivered: {test.file}" if test.file else beyond)
    return {"started": steps, "delivered": test.file or test.beyond}


def _tell_rest(expected: "QuickstartPlan", result: dict[str, Any], change: ChangeOptions) -> None:
    from eqmail_setup.quickstart.next_steps import dns_records, next_commands

    records, commands = dns_records(expected), next_commands(expected)
    if change.as_json:
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
    from eqmail_setup.errors import Severity

    for item in found:
        if item.operation is None and item.severity is Severity.ERROR:
            raise EqmailError(item.line())
    return found


def _ask(question: str, change: ChangeOptions) -> None:
    if change.yes or change.as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    if not click.confirm(f"{question}?", default=True):
        raise EqmailError("nothing was done; --dry-run says what would be")
