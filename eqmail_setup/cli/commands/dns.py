"""`eqmail dns`: the DNS records that mail needs, and whether they are published."""

import click

from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.options import json_option
from eqmail_setup.cli.output import echo, print_json, print_table
from eqmail_setup.errors import ExitCode

_STATES = {"ok": "ok", "missing": "missing", "different": "different", "unknown": "not checked"}


@click.group("dns")
def command() -> None:
    """Show the DNS records that mail for a domain needs, and check whether they are published.

    \b
    Examples:
      eqmail dns records example.net
      eqmail dns check example.net
    """


@command.command("records")
@click.argument("domain", required=False)
@click.option(
    "--format", "format_", type=click.Choice(("zone", "json")), default="zone", show_default=True, help="Form."
)
@click.pass_context
def records(context: click.Context, domain: str | None, format_: str) -> int:
    """Show the records for DOMAIN, or for the name of this host, as a zone file or JSON.

    \b
    Examples:
      eqmail dns records example.net
      eqmail dns records example.net --format json
    """
    from eqmail_setup.mail.dns_zone import record_context
    from eqmail_setup.network.hostnames import require_host_name
    from eqmail_setup.network.records import records_for, zone_text

    if domain:
        require_host_name(domain)
    found = record_context(require_installation(context), domain or "")
    if format_ == "json":
        print_json(
            "dns-records-1", domain=found.domain, host=found.host, records=[it._asdict() for it in records_for(found)]
        )
    else:
        echo(zone_text(found), nl=False)
    return 0


@command.command("check")
@click.argument("domain", required=False)
@json_option
@click.pass_context
def check(context: click.Context, domain: str | None, as_json: bool) -> int:
    """Check whether the records for DOMAIN are published; exit 1 if a required one is not.

    \b
    Examples:
      eqmail dns check example.net --json
    """
    from eqmail_setup.mail.dns_zone import record_context
    from eqmail_setup.network.dns import DnsLookupFailed, query
    from eqmail_setup.network.hostnames import require_host_name
    from eqmail_setup.network.records import REQUIRED, check_records, records_for

    if domain:
        require_host_name(domain)
    found = record_context(require_installation(context), domain or "")
    states = check_records(records_for(found), query, DnsLookupFailed)
    is_bad = any(it.state in ("missing", "different") and it.record.level == REQUIRED for it in states)
    if as_json:
        print_json(
            "dns-check-1",
            domain=found.domain,
            records=[{**it.record._asdict(), "state": it.state, "found": it.found} for it in states],
        )
    else:
        rows = [
            (
                _STATES[it.state],
                it.record.kind,
                it.record.name,
                it.record.value,
                " | ".join(it.found) or "-",
                it.record.level,
            )
            for it in states
        ]
        print_table(("STATE", "TYPE", "NAME", "EXPECTED", "FOUND", "LEVEL"), rows)
    return ExitCode.PROBLEMS if is_bad else ExitCode.OK
