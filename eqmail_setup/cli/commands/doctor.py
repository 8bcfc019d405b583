"""`eqmail doctor`: everything that is wrong with an installation, each with what helps."""

import json
import os
from collections.abc import Callable, Iterator

import click

from eqmail_core.site.site import Site
from eqmail_core.text.listen_address import parse_listen_address
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.options import json_option
from eqmail_setup.diagnostics.checks import services as outside_view
from eqmail_setup.diagnostics.checks import settings as examination
from eqmail_setup.diagnostics.checks.filters import check_filters
from eqmail_setup.diagnostics.checks.old_programs import old_ways
from eqmail_setup.diagnostics.checks.start_scripts import check_start_scripts
from eqmail_setup.diagnostics.finding import ERROR, SEVERITY_ORDER, WARNING, Finding, going_on, is_selected
from eqmail_setup.errors import ExitCode, permission_required, usage_error
from eqmail_setup.installation.loading import require_accounts

Check = Callable[[Site, tuple[str, ...]], Iterator[Finding]]


def _inside(check: Callable[[Site], Iterator[Finding]]) -> Check:
    return lambda site, addresses: check(site)


# Group of findings, check, and whether it asks other hosts.
CHECKS: dict[str, tuple[Check, bool]] = {
    "permissions": (_inside(examination.check_permissions), False),
    "queue": (_inside(examination.check_queue), False),
    "settings": (_inside(examination.check_setting_files), False),
    "users": (_inside(examination.check_users), False),
    "aliases": (_inside(examination.check_aliases), False),
    "relaying": (_inside(examination.check_relaying), False),
    "certificates": (_inside(examination.check_certificates), False),
    "filters": (_inside(check_filters), False),
    "scripts": (_inside(check_start_scripts), False),
    "programs": (_inside(old_ways), False),
    "listening": (outside_view.check_listening, False),
    "selftest": (outside_view.check_open_relay, False),
    "dns": (lambda site, addresses: outside_view.skip_unanswered(outside_view.check_dns(site, addresses)), True),
}

_OF_ROOT = ("permissions", "queue")
"""Checks for which one has to see what only the services see."""


@click.command("doctor")
@click.option("--offline", is_flag=True, help="Ask no other host, not even DNS.")
@click.option("--only", metavar="NAME", multiple=True, help=f"Only these: a finding, or {', '.join(CHECKS)}.")
@click.option("--skip", metavar="NAME", multiple=True, help="Not these findings or groups.")
@click.option("--smtp", "addresses", metavar="ADDRESS:PORT", multiple=True, help="The server to test; else smtplisten.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    offline: bool,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    addresses: tuple[str, ...],
    as_json: bool,
) -> int:
    """Examine an installation: files, queue, settings, users, relaying, certificates, services, DNS. Changes nothing.

    Exits 0 when all is well, 1 with warnings, 3 with errors. A finding keeps its name for ever.

    \b
    Examples:
      eqmail doctor
      eqmail doctor --offline --skip certificates.expires
      eqmail doctor --only relaying --only selftest --smtp 127.0.0.1:25
    """
    for name in (*only, *skip):
        if name.partition(".")[0] not in CHECKS:
            raise usage_error(f"there is no check {name!r}; there are {', '.join(CHECKS)}")
    for address in addresses:
        at = parse_listen_address(address)
        if at is None or at.role.is_tls:
            raise usage_error(f"--smtp {address}: write ADDRESS:PORT or [IPv6]:PORT, such as 127.0.0.1:25")
    site = require_installation(context)
    require_accounts(site)
    looks = any(_wanted(group, only, skip) for group in _OF_ROOT)
    if looks and os.path.isdir(site.queue.root) and not os.access(site.queue.lock, os.R_OK | os.X_OK):
        raise permission_required(
            f"the doctor of {site.home} needs root, because it looks into the queue; --only settings does not"
        )
    found = [
        finding
        for group, (check, asks) in CHECKS.items()
        if not (asks and offline) and _wanted(group, only, skip)
        for finding in going_on(group, check(site, addresses))
        if is_selected(finding.id, only, skip)
    ]
    found.sort(key=lambda finding: SEVERITY_ORDER.index(finding.severity))
    if as_json:
        click.echo(json.dumps([finding.value() for finding in found], indent=1))
    else:
        for finding in found:
            click.echo(finding.line())
        if not found:
            click.echo(f"{site.home}: nothing found")
    weights = {finding.severity for finding in found}
    return ExitCode.FAILED if ERROR in weights else ExitCode.PROBLEMS if WARNING in weights else 0


def _wanted(group: str, only: tuple[str, ...], skip: tuple[str, ...]) -> bool:
    return group not in skip and (not only or any(name.partition(".")[0] == group for name in only))
