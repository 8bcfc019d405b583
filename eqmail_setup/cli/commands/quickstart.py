"""`eqmail quickstart`: from nothing to a running mail server, in one run that can be taken back."""

import os
import shlex
import sys
from itertools import count
from typing import TYPE_CHECKING, Any

import click

from eqmail_core.site.layout import DEFAULT_HOME
from eqmail_setup.cli.context import load_or_propose
from eqmail_setup.cli.execute import NOTHING, command_line, confirm_irreversible, print_plan
from eqmail_setup.cli.options import ChangeOptions, change_options
from eqmail_setup.cli.output import print_json, print_note, print_warning
from eqmail_setup.cli.quickstart_services import Say, start_services
from eqmail_setup.errors import EqmailError, ExitCode, usage_error
from eqmail_setup.installation.loading import demand_own, require_accounts, require_short_path
from eqmail_setup.installation.lock import LOCK, locked
from eqmail_setup.network.hostnames import require_host_name
from eqmail_setup.transaction.transaction import begin_transaction, filesystem_for

if TYPE_CHECKING:
    from eqmail_core.site.site import Site
    from eqmail_setup.quickstart.plan import QuickstartPlan
    from eqmail_setup.transaction.plan import Change

SCHEMA = "quickstart-1"

NONE = "none"
"""The deployment without services, as `services.deployments` has it."""


@click.command("quickstart")
@click.argument("fqdn", required=False)
@click.option(
    "--domain", metavar="DOMAIN", default="", help="Also take mail for people at DOMAIN, such as example.org."
)
@click.option("--imap", metavar="SERVER", default="", help="Set up reading by IMAP and POP3 with dovecot.")
@click.option("--single-user", is_flag=True, help="A server of the caller alone in --home DIR, without root.")
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
    domain: str,
    imap: str,
    single_user: bool,
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
      eqmail quickstart mail.example.org --domain example.org --to joe --imap dovecot
      eqmail quickstart mail.example.org --service runit --set smtp.port=2525 --yes
      eqmail --home ~/mail quickstart mail.example.org --single-user
    """
    from eqmail_setup.installation.detection import require_safe_change
    from eqmail_setup.mail.domains import require_domain
    from eqmail_setup.mail.routing import text
    from eqmail_setup.quickstart.imap import require_imap
    from eqmail_setup.quickstart.plan import QuickstartPlan, destination, plan_service_changes
    from eqmail_setup.quickstart.preflight import (
        require_alias_home,
        require_free_ports,
        require_readable_python,
        require_root,
    )
    from eqmail_setup.quickstart.services import bundles_of
    from eqmail_setup.services.activation import require_startable
    from eqmail_setup.services.deployments import detected
    from eqmail_setup.services.state import load_services
    from eqmail_setup.transaction.disk_filesystem import DiskFilesystem

    if not fqdn:
        raise usage_error("give the full name of this host, such as: eqmail quickstart mail.example.org")
    require_host_name(fqdn)
    domain = text(require_domain(domain, False)) if domain else ""
    root = os.path.abspath(root) if root else ""
    opened = load_or_propose(context, overrides={"single-user": "yes"} if single_user else None, root=root)
    site, acts = opened.site, not (change.preview_only or root)
    require_short_path(site.home)
    if site.single_user:
        deployment = _deployment_of_one(site, deployment)
    if acts:
        demand_own(site)
    if acts and not site.single_user:
        require_root()
        require_readable_python()
    deployment = deployment or (NONE if root else detected())
    if imap:
        require_imap(imap, deployment)
    installed = load_services(site, filesystem_for(site, root))
    bundles = bundles_of(deployment, site, pairs, installed)
    expected = QuickstartPlan(site, fqdn, *destination(site, to), bundles, bool(root), domain, imap)
    require_safe_change(opened.before, site, root)
    if not acts:
        return _only_write(expected, change, root)
    if not site.single_user:
        require_alias_home(site)
    for bundle in bundles:
        require_startable(bundle.manager, bundle.pieces)
    if plan_service_changes(expected, DiskFilesystem(site.home)):
        require_free_ports(site, bundles)
    return _do(context, expected, change, authority, deployment)


def _deployment_of_one(site: "Site", given: str | None) -> str:
    """An installation of one user starts no services of the host, and has a folder of its own."""
    if site.home == DEFAULT_HOME:
        words = ("eqmail", "--home", os.path.expanduser("~/mail"), "quickstart", "--help")
        raise EqmailError(
            f"{site.home}: is for the whole host; name a folder of yours with --home", ExitCode.USAGE, words
        )
    if given not in (None, NONE):
        raise usage_error(f"--service {given}: an installation of one user is started by eqmail run")
    return NONE


def _only_write(expected: "QuickstartPlan", change: ChangeOptions, root: str) -> int:
    """Say what would be done, or do what can be done without root below a folder."""
    from eqmail_setup.installation.system_links import plan_system_links
    from eqmail_setup.quickstart.plan import plan_changes
    from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
    from eqmail_setup.transaction.plan import apply_changes
    from eqmail_setup.transaction.staged_filesystem import StagedFilesystem

    site = expected.site
    if change.preview_only:
        for words in () if root or site.single_user else _missing_accounts(site):
            click.echo(shlex.join(words), err=change.as_json)
        filesystem = StagedFilesystem(site.home, root) if root else DiskFilesystem(site.home)
        links = () if root else plan_system_links(site, filesystem, True)
        print_plan(
            [*plan_changes(expected, filesystem), *links], filesystem, change.as_json, change.diff, change.verbose
        )
        return 0
    os.makedirs(root, exist_ok=True)
    with locked(f"{root}/{LOCK}"):
        staged = StagedFilesystem(site.home, root)
        done = apply_changes(_unstuck(plan_changes(expected, staged)), staged, lambda action: None)
        staged.sync()
    if change.as_json:
        print_json(SCHEMA, home=f"{root}{site.home}", done=done)
    else:
        click.echo(f"{root}: {done} changes.")
    return 0


def _do(
    context: click.Context, expected: "QuickstartPlan", change: ChangeOptions, authority: str, deployment: str
) -> int:
    """Create accounts, write all files in one transaction, start the services, test them, and report what remains."""
    from eqmail_setup.cli.progress import progress
    from eqmail_setup.installation.account_creation import create
    from eqmail_setup.installation.system_links import plan_system_links
    from eqmail_setup.quickstart.imap import restart_imap
    from eqmail_setup.quickstart.plan import plan_changes
    from eqmail_setup.settings.reload import running_pid

    site = expected.site
    write_line: Say = (
        (lambda stage, line: None) if change.as_json else (lambda stage, line: click.echo(f"{stage:13} {line}"))
    )
    accounts = [] if site.single_user else _missing_accounts(site)
    _ask(f"Make {expected.name} a mail server, with its home in {site.home}", change)
    for words in accounts:
        write_line("accounts", shlex.join(words))
        create(words)
    if not site.single_user:
        require_accounts(site)
    with begin_transaction(site.home, command_line(context), print_note) as run:
        found = _unstuck([*plan_changes(expected, run.filesystem), *plan_system_links(site, run.filesystem, True)])
        confirm_irreversible(found, run.filesystem, change)
        counted = count(1)
        with progress("setting up", len(found)) as watch:
            done = run.apply(found, lambda action: watch(next(counted)))
    kept = [item.line() for item in found if item.operation is None]
    ran_before = bool(running_pid(site))
    is_issued = authority == "self-signed" or _is_issued(site)
    if not (done or accounts) and is_issued and (ran_before or not expected.bundles):
        if change.as_json:
            print_json(SCHEMA, home=site.home, run=0, done=0, kept=kept)
        else:
            click.echo(NOTHING)
        return 0
    write_line(
        "files",
        f"{done} changes in {site.home} and for the services (transaction {run.number})" if done else "up to date",
    )
    for line in kept:
        write_line("kept", line)
    result: dict[str, Any] = {"home": site.home, "run": run.number, "done": done, "kept": kept}
    result |= start_services(expected, ran_before, write_line)
    if not is_issued:
        result["certificate"] = _obtain_certificate(context, expected, authority, write_line)
    if expected.imap:
        write_line("reading mail", shlex.join(restart_imap(deployment)))
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


def _tell_rest(expected: "QuickstartPlan", result: dict[str, Any], change: ChangeOptions) -> None:
    from eqmail_setup.quickstart.next_steps import dns_records, next_commands

    records, commands = dns_records(expected), next_commands(expected)
    if change.as_json:
        print_json(SCHEMA, **result, zone=records, next=[words for words, _ in commands])
        return
    click.echo(f"\nPublish these DNS records:\n\n{records}\nNext steps:\n")
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
