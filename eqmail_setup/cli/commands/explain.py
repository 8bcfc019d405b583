"""`eqmail explain`: what the SMTP server answers for an address, how it is routed, and what a delivery does."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import NamedTuple

import click

from eqmail_core.control.list_kinds import render_time
from eqmail_core.outcome import DONE, PERMANENT
from eqmail_core.remote.routes import SMTP_PORT
from eqmail_core.scheduler.suspension import suspension_of
from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_controls
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.options import json_option
from eqmail_setup.cli.output import echo, print_json
from eqmail_setup.errors import usage_error
from eqmail_setup.mail.limits import limits_for
from eqmail_setup.mail.outgoing_tls import tls_with
from eqmail_setup.mail.routing import AddressRoute, route_address
from eqmail_setup.mail.smtp_verdict import SOMEBODY, Client, SmtpVerdict, ask_smtp_server, may_submit

_NO_MAIL = "0"
"""The target of `MX 0 .`, by which a domain declares that it accepts no mail."""

_OUTCOMES = {"K": "delivered", "Z": "deferred", "D": "failed"}
_KINDS = {"maildir": "Maildir", "mbox": "mbox", "program": "program", "forward": "forward to"}


@click.command("explain")
@click.argument("address")
@click.option("--client", metavar="IP", default=SOMEBODY, help="Address of the SMTP client.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=25, show_default=True, help="Port the client connects to."
)
@click.option("--login", metavar="NAME", default="", help="Explain for a client that has logged in.")
@click.option("--sender", metavar="ADDRESS", default="", help="Envelope sender; the null sender by default.")
@click.option("--tls", is_flag=True, help="Explain for a client that uses TLS.")
@click.option("--dns", is_flag=True, help="Look up the mail exchangers of a remote domain.")
@click.option("--delivery", metavar="TEXT", help="Delivery for users without a .qmail file; else defaultdelivery.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    address: str,
    client: str,
    port: int,
    login: str,
    sender: str,
    tls: bool,
    dns: bool,
    delivery: str | None,
    as_json: bool,
) -> int:
    """Show what the SMTP server answers for ADDRESS, how mail for it is routed, and what a delivery does.

    Nothing is delivered. Root sees what a delivery sees; another user sees what that user may see.

    \b
    Examples:
      eqmail explain postmaster@example.org
      eqmail explain ann@example.com --client 192.0.2.7 --dns
      eqmail explain ann@example.com --login joe --port 587 --json
    """
    if not address or any(ord(sign) < 32 for sign in address):
        raise usage_error(f"invalid address {address!r}; give one such as joe@example.org")
    try:
        ip_address(client)
    except ValueError:
        raise usage_error(f"--client {client}: invalid IP address") from None
    site = require_installation(context)
    found = route_address(site, os.fsencode(address), os.fsencode(delivery) if delivery else None)
    asked = Client(client, port, login, sender, tls)
    verdict = ask_smtp_server(site, os.fsencode(address), asked, {})
    limits = limits_for(site, login, client) if may_submit(site, asked) else []
    records = _look_up(found.mx_domain) if dns and found.mx_domain else NOT_ASKED
    explained = _Explanation(site, found, verdict, records, limits)
    if as_json:
        print_json("explain-1", **explained.value())
        return 0
    for label, text in explained.fields():
        echo(f"{label:10} {text}".rstrip())
    return 0


class DnsView(NamedTuple):
    """The DNS data of a remote domain: whether it was queried, whether the domain exists, its MX records."""

    is_asked: bool = True
    exists: bool = True
    exchangers: tuple[str, ...] = ()


NOT_ASKED = DnsView(is_asked=False)


def _look_up(domain: str) -> DnsView:
    from eqmail_setup.network.dns import domain_exists, query

    return DnsView(exchangers=tuple(query(domain, "MX"))) if domain_exists(domain) else DnsView(exists=False)


class _Explanation:
    """All that is known about one address."""

    def __init__(self, site: Site, found: AddressRoute, verdict: SmtpVerdict, dns: DnsView, limits: list[str]) -> None:
        self._site = site
        self._limits = limits
        self._found = found
        self._verdict = verdict
        self._dns = dns
        servers = found.servers or tuple((record.split()[-1], SMTP_PORT) for record in dns.exchangers)
        self._tls = {name: tls_with(site, name, port) for name, port in servers if name != _NO_MAIL}
        controls = read_controls(site)
        host = os.fsencode(found.address).rpartition(b"@")[2]
        self._suspended_until = suspension_of(controls.suspendeddomains, host, time.time())
        self._has_name = controls.me is not None

    def fields(self) -> Iterator[tuple[str, str]]:
        """Labels and texts, in order; a label is empty where its field goes on."""
        found, verdict = self._found, self._verdict
        yield "Address", found.given
        setting = f" ({verdict.setting})" if verdict.setting else ""
        yield "SMTP", f"{'accepted' if verdict.accepted else 'rejected'}: {verdict.reply}{setting}"
        yield from (("", f"not asked: {what}") for what in verdict.left_out)
        yield from _labeled("Limits", self._limits)
        if found.address != found.given:
            yield "Rewritten", found.address
        yield "Route", self._route()
        yield from _labeled("Tried", _columns(found.tried))
        if found.tried and not found.file and found.instructions:
            yield "", "no .qmail file: the default delivery applies"
        yield from _labeled("Delivery", [f"{_KINDS[kind]} {argument}" for kind, argument in found.instructions])
        yield from _labeled("MX", self._mx())
        yield from _labeled("TLS", [f"{name}: {words}" for name, words in self._tls.items()])
        yield "Result", self._result()
        if not self._has_name:
            yield "", "this host has no name yet: eqmail config-fast NAME"

    def _route(self) -> str:
        found = self._found
        if found.channel == "remote":
            return f"remote, {found.relay}"
        if found.user is None:
            return f"local, {found.source}" if found.source else "local"
        name, home = os.fsdecode(found.user.name), os.fsdecode(found.user.home)
        return f"local, user {name} ({found.user.uid}:{found.user.gid}), {home}, by {found.source}"

    def _mx(self) -> list[str]:
        domain = self._found.mx_domain
        if not self._dns.is_asked or not domain:
            return []
        if not self._dns.exists:
            return [f"the domain {domain} does not exist"]
        return list(self._dns.exchangers) or [f"no MX record: the address of {domain} is used"]

    def _result(self) -> str:
        found = self._found
        if self._suspended_until is not None:
            until = render_time(self._suspended_until).decode() if self._suspended_until else "eqmail queue resume"
            return f"waits in the queue: the domain is suspended until {until}"
        if found.cannot_look:
            return f"unknown: {found.cannot_look}"
        if found.outcome == PERMANENT.decode():
            return f"undeliverable: {found.failure}"
        if found.outcome != DONE.decode():
            return f"deferred: {found.failure}"
        if found.channel == "remote":
            if not self._dns.exists:
                return "undeliverable: the domain does not exist"
            return "sent to the next server" + (", when it comes from this host" if not self._verdict.accepted else "")
        if found.user is None or not found.instructions:
            return "discarded: no delivery instruction"
        return "delivered"

    def value(self) -> dict[str, object]:
        """The same for programs."""
        found, user = self._found, self._found.user
        return {
            "given": found.given,
            "address": found.address,
            "accepted": self._verdict.accepted,
            "smtp": self._verdict._asdict(),
            "limits": self._limits,
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
            "mx_domain": found.mx_domain,
            "domain_exists": self._dns.exists if self._dns.is_asked else None,
            "exchangers": self._dns.exchangers,
            "tls": self._tls,
            "suspended_until": self._suspended_until,
            "outcome": _OUTCOMES.get(found.outcome, found.outcome) if not found.cannot_look else "unknown",
            "failure": found.failure or found.cannot_look,
        }


def _labeled(label: str, texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    for number, text in enumerate(texts):
        yield "" if number else label, text


def _columns(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max((len(name) for name, _ in rows), default=0)
    return [f"{name:{width}}  {found}" for name, found in rows]
