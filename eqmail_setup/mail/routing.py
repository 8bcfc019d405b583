"""Where mail for an address goes in one installation: asked of the very code that routes and delivers it.

Nothing is delivered or changed.

Fails: EqmailError where the settings cannot be read; what a delivery would fail of is part of the answer.
"""

from typing import NamedTuple

from eqmail_core.control.controls import Controls
from eqmail_core.control.setting import ControlError
from eqmail_core.local.delivery.dotqmail import FORWARD
from eqmail_core.local.delivery.report import local_report
from eqmail_core.outcome import DONE, PERMANENT
from eqmail_core.queue.format.channels import LOCAL
from eqmail_core.queue.routing import Routes
from eqmail_core.remote.routes import route_for
from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_controls
from eqmail_core.users.database import find_user
from eqmail_core.users.getpw import find_among_accounts, find_in_single_user_site
from eqmail_core.users.user import (
    LOOKUP_DATABASE,
    LOOKUP_HOME_AWAY,
    LOOKUP_NO_ALIAS,
    LOOKUP_ROOT,
    LOOKUP_SYSTEM,
    LOOKUP_USAGE,
    LookupFailed,
    User,
)
from eqmail_setup.errors import EqmailError
from eqmail_setup.mail.local_delivery import look_into_home, show

text = show
"""Bytes for people."""

WITHOUT_DEFAULT = b"./Mailbox"
_HELP = {
    LOOKUP_DATABASE: "the user database is damaged; compile it again: eqmail user compile",
    LOOKUP_HOME_AWAY: "the home of a candidate cannot be reached now",
    LOOKUP_NO_ALIAS: "there is no alias account; create it: eqmail mkusers",
    LOOKUP_ROOT: "the user is root, to whom nothing is delivered",
    LOOKUP_SYSTEM: "the accounts cannot be asked now",
    LOOKUP_USAGE: "the entry in the user database lacks fields; correct users/assign, then: eqmail user compile",
}

Instruction = tuple[str, str]


class AddressRoute(NamedTuple):
    """The way of one address. `failure` is what a delivery would report, with `outcome` K, Z or D; "" for none.

    `tried` are the .qmail files in order, each with what was found; `file` is the one that counts, "" for none.
    `servers` are names and ports that a route names; where none does, the mail exchangers of `mx_domain` count.
    `cannot_look`: the caller lacks the rights to see what a delivery sees; "" where everything was seen.
    `lookup_outcome`: the answer to the SMTP server with rcptcheck.
    """

    given: str
    address: str
    channel: str
    source: str = ""
    user: User | None = None
    tried: tuple[tuple[str, str], ...] = ()
    file: str = ""
    instructions: tuple[Instruction, ...] = ()
    relay: str = ""
    servers: tuple[tuple[str, int], ...] = ()
    mx_domain: str = ""
    outcome: str = DONE.decode()
    failure: str = ""
    cannot_look: str = ""
    lookup_outcome: str = DONE.decode()

    @property
    def is_undeliverable(self) -> bool:
        """Whether mail for it comes back to its sender."""
        return self.outcome == PERMANENT.decode()


def routes_of(site: Site) -> Routes:
    """The tables of an installation.

    Fails: Refusal when one cannot be read.
    """
    controls = read_controls(site)
    try:
        return Routes(
            controls.envnoathost, controls.locals or (), controls.percenthack or (), controls.virtualdomains or {}
        )
    except ControlError as error:
        raise EqmailError(f"{site.control}/{error}") from error


def route_address(site: Site, address: bytes, default: bytes | None = None, is_routed: bool = False) -> AddressRoute:
    """Follow one address to its instructions, or to its relay; `is_routed`: it is local, with its prefix."""
    controls = read_controls(site)
    channel, rewritten = (LOCAL, address) if is_routed else routes_of(site).route(address)
    given, shown = text(address), text(rewritten)
    if channel != LOCAL:
        return _route_remote(controls, AddressRoute(given, shown, "remote"), rewritten.rpartition(b"@")[2])
    local = rewritten.rpartition(b"@")[0]
    if not local:
        return AddressRoute(given, shown, "local", source="an empty local part, whose mail is discarded")
    try:
        source, user = find_owner(site, local)
    except LookupFailed as failure:
        return _unowned(AddressRoute(given, shown, "local"), failure.code)
    found = AddressRoute(given, shown, "local", source, user)
    if user.uid == 0 and not site.single_user:
        return _unowned(found, LOOKUP_ROOT)
    if default is None:
        default = default_delivery(controls)
    view = look_into_home(user, default, site.patrn)
    return found._replace(**view._asdict())


def default_delivery(controls: Controls) -> bytes:
    """The delivery of users without a .qmail file, as the services are started with it."""
    text = controls.defaultdelivery
    return WITHOUT_DEFAULT if text is None else text.rstrip(b"\n")


def _unowned(found: AddressRoute, code: int) -> AddressRoute:
    """The route of an address whose owner cannot be found now."""
    outcome = local_report(code, b"").outcome.decode()
    return found._replace(outcome=outcome, lookup_outcome=outcome, failure=_HELP.get(code, f"look-up code {code}"))


def find_owner(site: Site, local: bytes) -> tuple[str, User]:
    """The user that gets mail for a local part, and the source of the answer.

    Fails: LookupFailed.
    """
    user = find_user(site, local)
    if user is not None:
        return f"{site.users}/cdb", user
    find = find_in_single_user_site if site.single_user else find_among_accounts
    return "the accounts of the system", find(site, local)


def _route_remote(controls: Controls, found: AddressRoute, host: bytes) -> AddressRoute:
    route = route_for(controls.smtproutes, host)
    if not route.relay and host.startswith(b"["):
        return found._replace(relay=f"the host {text(host)} itself")
    if not route.relay:
        return found._replace(relay=f"the mail exchangers (MX) of {text(host)}", mx_domain=text(host))
    password = ", with a password" if route.user else ""
    deployment = f"{text(route.relay)}, port {route.port}{password}, by the route that is set for it"
    return found._replace(relay=deployment, servers=((text(route.relay), route.port),))


def forwards_of(found: AddressRoute) -> list[str]:
    """The addresses that the instructions forward to."""
    return [argument for kind, argument in found.instructions if kind == text(FORWARD)]
