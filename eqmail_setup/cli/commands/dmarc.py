"""`eqmail dmarc`: which DMARC policy receivers apply to the mail of a domain."""

import click

from eqmail_setup.cli.options import json_option
from eqmail_setup.cli.output import echo, print_json


@click.command("dmarc")
@click.argument("domain")
@json_option
def command(domain: str, as_json: bool) -> int:
    """Show which DMARC policy applies to mail of DOMAIN, and where it is published (RFC 9989).

    \b
    Examples:
      eqmail dmarc example.org
      eqmail dmarc news.example.org --json
    """
    from eqmail_setup.mail.dmarc import policy_of
    from eqmail_setup.network.hostnames import require_host_name

    require_host_name(domain)
    found = policy_of(domain.lower())
    if as_json:
        print_json("dmarc-1", **found._asdict())
        return 0
    if not found.published_at:
        echo(f"{found.domain}: no policy; publish one: eqmail dns records {found.organization}")
        return 0
    for key, value in (
        ("domain", found.domain),
        ("organization", found.organization),
        ("published at", f"_dmarc.{found.published_at}"),
        ("policy", found.policy),
        ("alignment", f"DKIM {found.dkim}, SPF {found.spf}"),
        ("reports to", " ".join(found.reports) or "nobody"),
    ):
        echo(f"{key:13} {value}")
    return 0
