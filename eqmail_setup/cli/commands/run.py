"""`eqmail run`: the services of an installation in the foreground, their log on standard error."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from eqmail_core.control.environment import service_variables
from eqmail_core.site.layout import HOME_VARIABLE
from eqmail_core.system.installation import read_controls
from eqmail_core.text.listen_address import parse_listen_address
from eqmail_setup.cli.context import require_installation
from eqmail_setup.errors import EqmailError, permission_required, usage_error
from eqmail_setup.installation.loading import demand_own
from eqmail_setup.installation.trust import demand_trusted
from eqmail_setup.settings.reload import running_pid

if TYPE_CHECKING:
    from eqmail_core.site.site import Site

DEFAULT_DELIVERY = b"./Mailbox"
RELAYCLIENT = "RELAYCLIENT"
"""Not passed on: in the environment of the service it would let every client relay."""


@click.command("run")
@click.option(
    "--smtp", "addresses", metavar="ADDRESS:PORT", multiple=True, help="Listen for SMTP there; else smtplisten."
)
@click.option("--delivery", metavar="TEXT", help="Delivery for users without a .qmail file; else defaultdelivery.")
@click.pass_context
def command(context: click.Context, addresses: tuple[str, ...], delivery: str | None) -> int:
    """Run the services in the foreground until TERM or Ctrl-C.

    --smtp may be given several times. Before the address may stand tls:, submission: (login required) or submissions:
    (login and TLS from the first byte). Environment variables that the services know, such as SUBMISSIONPORT, are
    passed on. Passwords are accepted only under TLS, unless TLSREQUIRED is set to something other than 1.

    \b
    Examples:
      eqmail run --smtp 0.0.0.0:25 --smtp submission:0.0.0.0:587
      eqmail run --smtp 127.0.0.1:2525 --delivery ./Maildir/
    """
    site = require_installation(context)
    for address in addresses:
        if parse_listen_address(address) is None:
            raise usage_error(f"--smtp {address}: write ADDRESS:PORT or [IPv6]:PORT, such as 127.0.0.1:2525")
    program = f"{site.bin}/qmail-start"
    if not os.path.exists(program):
        raise EqmailError(f"{program}: missing; run: eqmail --home {site.home} setup")
    if os.geteuid() != 0 and not site.single_user:
        raise permission_required(
            f"running the services of {site.home} needs root, because each becomes a user of its own"
        )
    if pid := running_pid(site):
        raise EqmailError(
            f"{site.home}: the services are running already (process {pid})", hint=("eqmail", "service", "status")
        )
    demand_own(site)
    demand_trusted([program], "what is run")
    chosen = os.fsencode(delivery) if delivery else read_controls(site).defaultdelivery
    words = [os.fsencode(program)]
    for address in addresses:
        words += [b"--smtp", os.fsencode(address)]
    words.append((chosen or b"").rstrip(b"\n") or DEFAULT_DELIVERY)
    listens = addresses or [os.fsdecode(line) for line in read_controls(site).smtplisten or ()]
    where = f"SMTP on {', '.join(listens)}" if listens else "no SMTP; --smtp ADDRESS:PORT listens"
    click.echo(f"Starting the services of {site.home}: {where}. TERM or Ctrl-C ends them.", err=True)
    os.dup2(2, 1)
    os.execve(program, words, service_environ(site, os.environ))


def service_environ(site: "Site", environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the services: a PATH, the home, and what the caller sets of the variables that they know."""
    found = {"PATH": f"{site.bin}:/usr/local/bin:/usr/bin:/bin", os.fsdecode(HOME_VARIABLE): site.home}
    # As in all service files: passwords under TLS only, unless the caller sets it otherwise.
    found["TLSREQUIRED"] = "1"
    return found | {name: environ[name] for name in service_variables() if name in environ and name != RELAYCLIENT}
