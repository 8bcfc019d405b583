"""Where mail for an address goes in one installation: asked of the very code that routes and delivers it.

Nothing is delivered or changed. The working directory becomes the home of the user, as in a delivery.

Fails: Refusal where the settings cannot be read; what a delivery would fail of is part of the answer.
"""

import os
from typing import NamedTuple

from eqmail_core.access.morercpthosts import morercpthosts_lookup
from eqmail_core.access.rcpthosts import RcptHosts
from eqmail_core.control.controls import Controls
from eqmail_core.control.setting import ControlError
from eqmail_core.local.delivery.dotqmail import FORWARD, plain
from eqmail_core.local.delivery.home import STICKY, enter_home, find_instructions
from eqmail_core.local.delivery.request import candidates
from eqmail_core.outcome import Failure
from eqmail_core.queue.format.channels import LOCAL
from eqmail_core.queue.routing import Routes
from eqmail_core.remote.routes import route_for
from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_controls
from eqmail_core.text.invisible_characters import visible
from eqmail_core.users.database import find_user
from eqmail_core.users.getpw import find_among_accounts, find_in_single_user_site
from eqmail_core.users.user import (
    LOOKUP_DATABASE,
    LOOKUP_HOME_AWAY,
    LOOKUP_NO_ALIAS,
    LOOKUP_SYSTEM,
    LOOKUP_USAGE,
    LookupFailed,
    User,
)
from eqmail_setup.errors import EqmailError

WITHOUT_DEFAULT = b"./Mailbox"
_HERE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC
_RECIPIENT_LOOKUP = {
    LOOKUP_DATABASE: "the user database is damaged; make it anew: eqmail user compile",
    LOOKUP_HOME_AWAY: "the home of a candidate cannot be reached now",
    LOOKUP_NO_ALIAS: "there is no alias account; create it: eqmail mkusers",
    LOOKUP_SYSTEM: "the accounts cannot be asked now",
    LOOKUP_USAGE: "the entry in the user database lacks fields; mend users/assign, then: eqmail user compile",
}

Instruction = tuple[str, str]


class AddressRoute(NamedTuple):
    """The way of one address. `trouble` is the error that a delivery would report, or "".

    `tried` are the .qmail files in order, each with what was found; `file` is the one that counts, "" for none.
    `servers` are names and ports that a route names; where none does, the mail exchangers of `exchangers_of` count.
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
    failure: str = ""


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


def route_address(site: Site, address: bytes, default: bytes | None = None) -> AddressRoute:
    """Follow one address to its instructions, or to its relay."""
    controls = read_controls(site)
    channel, rewritten = routes_of(site).route(address)
    given, shown = text(address), text(rewritten)
    if channel != LOCAL:
        return _route_remote(controls, AddressRoute(given, shown, "remote"), rewritten.rpartition(b"@")[2])
    local = rewritten.rpartition(b"@")[0]
    try:
        source, user = find_owner(site, local)
    except LookupFailed as failure:
        return AddressRoute(
            given, shown, "local", failure=_RECIPIENT_LOOKUP.get(failure.code, f"look-up code {failure.code}")
        )
    found = AddressRoute(given, shown, "local", source, user)
    if default is None:
        default = controls.defaultdelivery
        default = WITHOUT_DEFAULT if default is None else default.rstrip(b"\n")
    return _route_local(site, found, user, default)


def find_owner(site: Site, local: bytes) -> tuple[str, User]:
    """The user that gets mail for a local part, and the source of the answer.

    Fails: LookupFailed.
    """
    user = find_user(site, local)
    if user is not None:
        return f"{site.users}/cdb", user
    find = find_in_single_user_site if site.single_user else find_among_accounts
    return "the accounts of the system", find(site, local)


def is_accepted_from_anyone(site: Site, address: bytes) -> bool:
    """Whether the SMTP server takes mail for an address from clients that may not relay.

    Fails: Refusal when the settings cannot be read.
    """
    try:
        return RcptHosts(read_controls(site).rcpthosts, morercpthosts_lookup(site)).accepts(address)
    except (ControlError, Failure) as error:
        raise EqmailError(f"{site.control}: {error}") from error


def _route_remote(controls: Controls, found: AddressRoute, host: bytes) -> AddressRoute:
    route = route_for(controls.smtproutes, host)
    if not route.relay and host.startswith(b"["):
        return found._replace(relay=f"the host {text(host)} itself")
    if not route.relay:
        return found._replace(relay=f"the mail exchangers (MX) of {text(host)}", mx_domain=text(host))
    password = ", with a password" if route.user else ""
    deployment = f"{text(route.relay)}, port {route.port}{password}, by the route that is set for it"
    return found._replace(relay=deployment, servers=((text(route.relay), route.port),))


def _route_local(site: Site, found: AddressRoute, user: User, default: bytes) -> AddressRoute:
    if user.uid == 0 and not site.single_user:
        return found._replace(failure="the user is root, to whom nothing is delivered")
    home = os.open(".", _HERE)
    try:
        trouble = STICKY if enter_home(user.home, site.patrn) else b""
        found = found._replace(tried=tuple(_tried(user)))
        instructions = find_instructions(user.dash, user.ext, default, site.patrn)
    except Failure as failure:
        return found._replace(failure=text(failure.text))
    finally:
        os.fchdir(home)
        os.close(home)
    steps = tuple((text(kind), text(plain(argument))) for kind, argument in instructions.instructions)
    refused = [argument for kind, argument in steps if kind == "refused"]
    return found._replace(
        file=text(user.home + b"/" + instructions.file) if instructions.file else "",
        instructions=tuple(step for step in steps if step[0] != "refused"),
        failure=text(trouble) or "".join(refused[:1]),
    )


def _tried(user: User) -> list[tuple[str, str]]:
    """Every candidate up to the first that exists."""
    tried = []
    for name, _ in candidates(user.dash, user.ext):
        try:
            is_there = os.stat(name)
        except OSError as error:
            tried.append((text(name), str(error.strerror).lower()))
            continue
        tried.append((text(name), f"found, mode {is_there.st_mode & 0o7777:04o}"))
        break
    return tried


def forwards_of(found: AddressRoute) -> list[str]:
    """The addresses that the instructions forward to."""
    return [argument for kind, argument in found.instructions if kind == text(FORWARD)]


def text(data: bytes) -> str:
    """Bytes for people; what could not be seen is spelled, line ends stay."""
    return "\n".join(map(visible, data.split(b"\n")))
