"""`eqmail tls`: how well TLS protects mail to other domains."""

import click

from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.options import json_option
from eqmail_setup.cli.output import print_json, print_table
from eqmail_setup.errors import ExitCode


@click.group("tls")
def command() -> None:
    """Examine how well TLS protects mail to other domains.

    \b
    Examples:
      eqmail tls check example.org
    """


@command.command("check")
@click.argument("domain")
@json_option
@click.pass_context
def check(context: click.Context, domain: str, as_json: bool) -> int:
    """Show for each server of DOMAIN the level of TLS that mail to it has at least, and why.

    The exit code is 1 if no server may get mail now. Asks the DNS and reads the settings; connects to no server. The
    levels are in docs/transport-security.md.

    \b
    Examples:
      eqmail tls check example.org
      eqmail tls check example.org --json
    """
    from eqmail_setup.mail.tls_check import DEFERRED, check_tls
    from eqmail_setup.network.hostnames import require_host_name

    require_host_name(domain)
    found = check_tls(require_installation(context), domain.lower())
    if as_json:
        print_json("tls-check-1", domain=domain.lower(), servers=[server._asdict() for server in found])
    else:
        rows = [(server.name, str(server.port), server.level, server.why) for server in found]
        print_table(("SERVER", "PORT", "LEVEL", "WHY"), rows)
    return ExitCode.OK if any(server.level != DEFERRED for server in found) else ExitCode.PROBLEMS
