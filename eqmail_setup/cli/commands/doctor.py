"""`eqmail doctor`: everything that is wrong with an installation, each with what helps."""

import os
from collections import Counter

import click

from eqmail_core.site.site import Site
from eqmail_core.text.listen_address import parse_listen_address
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.options import json_option
from eqmail_setup.cli.output import echo, print_hint, print_json, styled
from eqmail_setup.diagnostics.finding import ERROR, NOTE, SEVERITY_ORDER, WARNING, Finding
from eqmail_setup.diagnostics.ids import is_known
from eqmail_setup.diagnostics.runner import CHECKS, find_all, is_wanted
from eqmail_setup.errors import EqmailError, ExitCode, Severity, permission_required, usage_error
from eqmail_setup.installation.loading import require_accounts

FORMATS = ("text", "json", "nagios")
NEVER = "never"

MAX_OF_ONE_KIND = 5
"""Findings of one name that are shown without --verbose."""

_NAGIOS = {ERROR: (2, "CRITICAL"), WARNING: (1, "WARNING"), NOTE: (0, "OK")}
_NAGIOS_UNKNOWN = 3
_FAIL_ON = {severity.value: severity for severity in SEVERITY_ORDER}


@click.command("doctor")
@click.option("--offline", is_flag=True, help="Ask no other host, not even DNS.")
@click.option("--only", metavar="NAME", multiple=True, help=f"Only these: a finding, or {', '.join(CHECKS)}.")
@click.option("--skip", metavar="NAME", multiple=True, help="Not these findings or groups.")
@click.option("--smtp", "addresses", metavar="ADDRESS:PORT", multiple=True, help="The server to test; else smtplisten.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="text", show_default=True, help="Form of the output."
)
@click.option(
    "--fail-on",
    type=click.Choice([*_FAIL_ON, NEVER]),
    default=WARNING.value,
    show_default=True,
    help="Least severity that makes the exit status 1.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show every finding.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    offline: bool,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    addresses: tuple[str, ...],
    form: str,
    fail_on: str,
    verbose: bool,
    as_json: bool,
) -> int:
    """Find problems of an installation and show how to solve them. Changes nothing.

    Looks at files, queue, database, settings, users, aliases, domains, relaying, certificates, services and DNS. A
    finding keeps its name. With --format nagios the exit status is that of a monitoring plugin: 0 OK, 1 WARNING,
    2 CRITICAL, 3 UNKNOWN.

    \b
    Examples:
      eqmail doctor
      eqmail doctor --offline --skip certificates.expires
      eqmail doctor --only relaying --only selftest --smtp 127.0.0.1:25
      eqmail doctor --format nagios
    """
    if form == "nagios":
        return _nagios(context, offline, only, skip, addresses)
    site = _require_examinable(context, only, skip, addresses)
    found = find_all(site, only, skip, addresses, offline)
    counts = Counter(finding.severity for finding in found)
    if as_json or form == "json":
        print_json("findings-1", findings=[finding.value() for finding in found])
    else:
        print_findings(found, verbose)
        echo(f"{site.home}: {summary_of(counts)}")
    is_failure = fail_on != NEVER and any(finding.severity in _at_least(_FAIL_ON[fail_on]) for finding in found)
    return ExitCode.PROBLEMS if is_failure else ExitCode.OK


def print_findings(found: list[Finding], verbose: bool) -> None:
    """Write findings, and on a line of its own what helps; of one kind only the first, unless `verbose`."""
    groups = {
        name: [finding for finding in found if finding.id == name] for name in dict.fromkeys(it.id for it in found)
    }
    for name, group in groups.items():
        shown = group if verbose else group[:MAX_OF_ONE_KIND]
        for number, finding in enumerate(shown):
            echo(f"{styled(finding.severity.value + ':', finding.severity)} {finding.id}: {finding.message}")
            if number + 1 == len(shown) or shown[number + 1].hint != finding.hint:
                _print_what_helps(finding)
        if len(group) > len(shown):
            echo(styled(f"{len(group) - len(shown)} more {name}; -v shows all", "hint"))


def _print_what_helps(finding: Finding) -> None:
    if finding.command:
        print_hint(finding.command)
    elif finding.suggestion:
        echo(styled(f"suggestion: {finding.suggestion}", "hint"))


def summary_of(counts: "Counter[Severity]") -> str:
    """How many findings there are of each severity."""
    words = {ERROR: ("error", "errors"), WARNING: ("warning", "warnings"), NOTE: ("note", "notes")}
    parts = [f"{counts[severity]} {words[severity][counts[severity] != 1]}" for severity in words if counts[severity]]
    return ", ".join(parts) or "no problems found"


def _at_least(least: Severity) -> tuple[Severity, ...]:
    return SEVERITY_ORDER[: SEVERITY_ORDER.index(least) + 1]


def _nagios(
    context: click.Context, offline: bool, only: tuple[str, ...], skip: tuple[str, ...], addresses: tuple[str, ...]
) -> int:
    """One line with performance data, then the findings, as a monitoring plugin writes them."""
    try:
        found = find_all(_require_examinable(context, only, skip, addresses), only, skip, addresses, offline)
    except (EqmailError, OSError) as error:
        echo(f"EQMAIL UNKNOWN - {' '.join(str(error).split())}")
        return _NAGIOS_UNKNOWN
    counts = Counter(finding.severity for finding in found)
    worst = next((severity for severity in SEVERITY_ORDER if counts[severity]), NOTE)
    code, word = _NAGIOS[worst]
    first = f": {found[0].id}: {found[0].message}" if found else ""
    figures = f"errors={counts[ERROR]} warnings={counts[WARNING]} notes={counts[NOTE]}"
    echo(_plugin_text(f"EQMAIL {word} - {summary_of(counts)}{first}") + f" | {figures}")
    for finding in found[1:]:
        echo(_plugin_text(f"{finding.severity.value}: {finding.id}: {finding.message}"))
    return code


def _plugin_text(text: str) -> str:
    """Text without the sign that separates performance data."""
    return text.replace("|", "/")


def _require_examinable(
    context: click.Context, only: tuple[str, ...], skip: tuple[str, ...], addresses: tuple[str, ...]
) -> Site:
    """The site, where these names and addresses make sense and the caller may look.

    Fails: EqmailError.
    """
    for name in (*only, *skip):
        if not is_known(name):
            raise usage_error(f"unknown check or finding {name!r}; checks are {', '.join(CHECKS)}")
    for address in addresses:
        at = parse_listen_address(address)
        if at is None or at.role.is_tls:
            raise usage_error(f"--smtp {address}: write ADDRESS:PORT or [IPv6]:PORT, such as 127.0.0.1:25")
    site = require_installation(context)
    require_accounts(site)
    looks = any(is_wanted(group, only, skip) for group, check in CHECKS.items() if check.needs_queue)
    if looks and os.path.isdir(site.queue.root) and not os.access(site.queue.lock, os.R_OK | os.X_OK):
        raise permission_required(
            f"{site.queue.root}: only root may look into the queue; without root: eqmail doctor --only settings"
        )
    return site
