"""`eqmail dmarc`: which DMARC policy receivers apply to the mail of a domain, and aggregate reports."""

import click

from eqmail_setup.cli.commands.dmarc_reports import reports
from eqmail_setup.cli.options import json_option
from eqmail_setup.cli.output import echo, print_json

POLICY = "policy"


class _PolicyOrReports(click.Group):
    """A group whose first word may be a domain, which then is that of the command `policy`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not any(word in self.commands for word in args) and any(not word.startswith("-") for word in args):
            args = [POLICY, *args]
        return super().parse_args(ctx, args)


@click.group("dmarc", cls=_PolicyOrReports)
def command() -> None:
    """Show which DMARC policy applies to a domain; send and read aggregate reports (RFC 9989, RFC 9990).

    \b
    Examples:
      eqmail dmarc example.org
      eqmail dmarc reports on
      eqmail dmarc reports show report.xml.gz
    """


@command.command(POLICY)
@click.argument("domain")
@json_option
def policy(domain: str, as_json: bool) -> int:
    """Show which DMARC policy applies to mail of DOMAIN, and where it is published.

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


command.add_command(reports)
