"""`eqmail probe`: hold a conversation with an SMTP server, this one or those of a domain, without sending mail."""

import os

import click

from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_controls
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.options import json_option
from eqmail_setup.cli.output import echo, print_json, styled
from eqmail_setup.errors import EqmailError, ExitCode, usage_error
from eqmail_setup.mail.outgoing_tls import tls_with
from eqmail_setup.network.smtp_probe import ProbeStep, probe_smtp

SMTP_PORT = 25
MAX_EXCHANGERS = 5
"""Mail exchangers of a domain that are probed."""


@click.group("probe")
def command() -> None:
    """Test a conversation with an SMTP server, without sending mail.

    \b
    Examples:
      eqmail probe smtp mail.example.net
      eqmail probe mx example.net
    """


@command.command("smtp")
@click.argument("host", default="127.0.0.1")
@click.option("--port", type=click.IntRange(1, 65535), default=SMTP_PORT, show_default=True, help="Port of the server.")
@click.option("--recipient", metavar="ADDRESS", default="", help="Also ask whether it accepts mail for ADDRESS.")
@json_option
@click.pass_context
def smtp(context: click.Context, host: str, port: int, recipient: str, as_json: bool) -> int:
    """Connect to HOST, this one by default, and start TLS.

    \b
    Examples:
      eqmail probe smtp
      eqmail probe smtp mail.example.net --recipient ann@example.net
    """
    site = require_installation(context)
    return _report({host: list(probe_smtp(host, port, _own_name(site), recipient))}, as_json)


@command.command("mx")
@click.argument("domain")
@click.option("--recipient", metavar="ADDRESS", default="", help="Also ask whether they accept mail for ADDRESS.")
@json_option
@click.pass_context
def mx(context: click.Context, domain: str, recipient: str, as_json: bool) -> int:
    """Connect to each mail exchanger of DOMAIN.

    \b
    Examples:
      eqmail probe mx example.net
    """
    from eqmail_setup.network.dns import domain_exists, query

    site = require_installation(context)
    if not domain or "@" in domain or any(character.isspace() for character in domain):
        raise usage_error(f"invalid domain {domain!r}; give one such as example.net")
    if not domain_exists(domain):
        raise EqmailError(f"{domain}: the domain does not exist")
    records = query(domain, "MX")
    hosts = [record.split()[-1] for record in sorted(records, key=lambda record: int(record.split()[0]))] or [domain]
    if hosts == ["0"] or hosts == ["."]:
        raise EqmailError(f"{domain}: the domain accepts no mail (null MX)")
    found = {}
    for host in hosts[:MAX_EXCHANGERS]:
        if not as_json:
            echo(styled(f"{host}: {tls_with(site, host, SMTP_PORT)}", "header"))
        found[host] = list(probe_smtp(host, SMTP_PORT, _own_name(site), recipient))
        if not as_json:
            _print_steps(found[host])
    if as_json:
        return _report(found, True)
    return ExitCode.OK if any(_is_reachable(steps) for steps in found.values()) else ExitCode.PROBLEMS


def _report(found: dict[str, list[ProbeStep]], as_json: bool) -> int:
    if as_json:
        servers = [{"host": host, "steps": [step._asdict() for step in steps]} for host, steps in found.items()]
        print_json("probe-1", servers=servers)
    else:
        for steps in found.values():
            _print_steps(steps)
    return ExitCode.OK if any(_is_reachable(steps) for steps in found.values()) else ExitCode.PROBLEMS


def _print_steps(steps: list[ProbeStep]) -> None:
    for step in steps:
        state = styled("ok    ", "info") if step.is_done else styled("failed", "error")
        echo(f"{step.name:12} {state} {step.seconds * 1000:6.0f} ms  {step.text}")


def _is_reachable(steps: list[ProbeStep]) -> bool:
    """Whether the conversation came to its end, and nobody was refused; a server need not offer TLS."""
    return all(step.is_done for step in steps if step.name != "STARTTLS")


def _own_name(site: Site) -> str:
    return os.fsdecode(read_controls(site).me or b"localhost")
