"""`eqmail explain`: how this installation routes and delivers an address, asked of the code that does."""

import json
import os

import click

from eqmail_core.remote.routes import SMTP_PORT
from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_controls
from eqmail_setup.cli.output import json_option
from eqmail_setup.errors import usage_error
from eqmail_setup.installation.loading import require_installation
from eqmail_setup.mail.outgoing_tls import tls_with
from eqmail_setup.mail.routing import AddressRoute, is_accepted_from_anyone, route_address

_NO_MAIL = "0"
"""The target of `MX 0 .`, by which a domain declares that it accepts no mail."""

_DOES = {
    "maildir": "into the Maildir {}",
    "mbox": "into the mailbox {}",
    "program": "to the program {}",
    "forward": "on to {}",
}


@click.command("explain")
@click.argument("address")
@click.option(
    "--dns",
    is_flag=True,
    help="Ask DNS for the mail exchangers of a foreign address, and say what TLS each is to have.",
)
@click.option("--delivery", metavar="TEXT", help="Delivery for users without a .qmail file; else defaultdelivery.")
@json_option
@click.pass_context
def command(context: click.Context, address: str, dns: bool, delivery: str | None, as_json: bool) -> int:
    """Tell where mail for ADDRESS goes: local, virtual or remote, whose it is, which .qmail file counts, what it does.

    Delivers nothing. As root it sees what a delivery sees; as another user, what that user may see.

    \b
    Examples:
      eqmail explain postmaster@example.org
      eqmail explain joe+lists --json
      eqmail explain somebody@example.com --dns
    """
    if not address or any(ord(sign) < 32 for sign in address):
        raise usage_error(f"{address!r} is not an address; give one such as joe@example.org")
    site = require_installation(context)
    found = route_address(site, os.fsencode(address), os.fsencode(delivery) if delivery else None)
    accepted = is_accepted_from_anyone(site, os.fsencode(address))
    exchangers = _exchangers(found.mx_domain) if dns and found.mx_domain else []
    servers = found.servers or tuple((record.split()[-1], SMTP_PORT) for record in exchangers)
    tls = {name: tls_with(site, name, port) for name, port in servers if name != _NO_MAIL}
    if as_json:
        click.echo(json.dumps(_value(found) | {"accepted": accepted, "exchangers": exchangers, "tls": tls}, indent=1))
        return 0
    click.echo(f"{found.given}: {'accepted' if accepted else 'refused, unless the client may relay'}, from the network")
    lines = _told(site, found)
    if dns and found.mx_domain:
        lines += [f"MX {answer}" for answer in exchangers] or [f"no MX record: the address of {found.mx_domain} counts"]
    for line in (*lines, *(f"to {name} {words}" for name, words in tls.items())):
        click.echo(f"  {line}")
    return 0


def _told(site: Site, found: AddressRoute) -> list[str]:
    lines = [f"becomes {found.address}"] if found.address != found.given else []
    if found.channel == "remote":
        return [*lines, f"remote: to {found.relay}"]
    lines.append("local")
    user = found.user
    if user is not None:
        name, home = os.fsdecode(user.name), os.fsdecode(user.home)
        lines.append(f"user {name} ({user.uid}:{user.gid}) in {home}, says {found.source}")
        lines += [f"{home}/{name}: {verdict}" for name, verdict in found.tried]
    if found.failure:
        lines.append(f"is not delivered: {found.failure}")
    if found.instructions and not found.file:
        lines.append("no .qmail file, so the default delivery counts")
    lines += [_DOES[kind].format(argument) for kind, argument in found.instructions]
    if user is not None and not found.instructions and not found.failure:
        lines.append("is thrown away: the file holds no instruction")
    if read_controls(site).me is None:
        lines.append("this host has no name yet: eqmail config-fast NAME")
    return lines


def _exchangers(domain: str) -> list[str]:
    from eqmail_setup.network.dns import query

    return query(domain, "MX")


def _value(found: AddressRoute) -> dict[str, object]:
    user = found.user
    return {
        "given": found.given,
        "address": found.address,
        "channel": found.channel,
        "source": found.source,
        "user": user
        and {
            "name": os.fsdecode(user.name),
            "uid": user.uid,
            "gid": user.gid,
            "home": os.fsdecode(user.home),
            "dash": os.fsdecode(user.dash),
            "ext": os.fsdecode(user.ext),
        },
        "tried": found.tried,
        "file": found.file,
        "instructions": found.instructions,
        "relay": found.relay,
        "servers": found.servers,
        "exchangers_of": found.mx_domain,
        "trouble": found.failure,
    }
