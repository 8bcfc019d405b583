"""`eqmail run`: the services of an installation in the foreground, their log on standard error."""

import os
import re

import click

from eqmail_core.site.layout import HOME_VARIABLE
from eqmail_core.system.installation import read_controls
from eqmail_setup.errors import EqmailError, permission_required, usage_error
from eqmail_setup.installation.loading import demand_own, require_installation
from eqmail_setup.installation.trust import demand_trusted

DEFAULT_DELIVERY = b"./Mailbox"
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\s\[\]]*):([0-9]{1,5})")


@click.command("run")
@click.option("--smtp", "addresses", metavar="ADDRESS:PORT", multiple=True, help="Keep an SMTP service there.")
@click.option("--delivery", metavar="TEXT", help="Delivery for users without a .qmail file; else defaultdelivery.")
@click.pass_context
def command(context: click.Context, addresses: tuple[str, ...], delivery: str | None) -> int:
    """Run the services until TERM or Ctrl-C. Accepts --smtp several times; IPv6 addresses in brackets.

    Passwords are taken inside TLS only, unless TLSREQUIRED is set to something other than 1.

    \b
    Examples:
      eqmail run --smtp 0.0.0.0:25
      eqmail run --smtp 127.0.0.1:2525 --delivery ./Maildir/
    """
    site = require_installation(context)
    for address in addresses:
        match = _ADDRESS.fullmatch(address)
        if not match or not 0 < int(match[2]) < 1 << 16:
            raise usage_error(f"--smtp {address}: write ADDRESS:PORT or [IPv6]:PORT, such as 127.0.0.1:2525")
    program = f"{site.bin}/qmail-start"
    if not os.path.exists(program):
        raise EqmailError(f"{program}: missing; run: eqmail --home {site.home} setup")
    if os.geteuid() != 0 and not site.single_user:
        raise permission_required(
            f"running the services of {site.home} needs root, because each becomes a user of its own"
        )
    demand_own(site)
    demand_trusted([program], "what is run")
    chosen = os.fsencode(delivery) if delivery else read_controls(site).defaultdelivery
    words = [os.fsencode(program)]
    for address in addresses:
        words += [b"--smtp", os.fsencode(address)]
    words.append((chosen or b"").rstrip(b"\n") or DEFAULT_DELIVERY)
    environ = {b"PATH": os.fsencode(f"{site.bin}:/usr/local/bin:/usr/bin:/bin"), HOME_VARIABLE: os.fsencode(site.home)}
    # As all service files do: passwords below TLS only, unless the caller says otherwise.
    environ[b"TLSREQUIRED"] = os.environb.get(b"TLSREQUIRED", b"1")
    os.dup2(2, 1)
    os.execve(program, words, environ)
