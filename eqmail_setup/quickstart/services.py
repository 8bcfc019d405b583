"""Which services a new server runs, and how: from the words of the command line to rendered pieces.

Fails: Refusal for invalid arguments.
"""

import socket
from collections.abc import Iterable

from eqmail_core.site.site import Site
from eqmail_setup.errors import usage_error
from eqmail_setup.quickstart.plan import ServiceBundle
from eqmail_setup.services.compose import compose
from eqmail_setup.services.definitions import SERVICES
from eqmail_setup.services.deployments import DEPLOYMENTS, NONE
from eqmail_setup.services.managers import MANAGERS, ServiceManager
from eqmail_setup.services.options import ServiceOptions, option_of
from eqmail_setup.services.state import InstalledServices, find_services, merged_options

DEFAULT_OPTIONS = ("smtp", "submission", "smtps")
"""What a mail server offers: mail from other servers, and from people who log in."""


def bundles_of(
    deployment: str, site: Site, pairs: tuple[str, ...], installed: Iterable[InstalledServices] = ()
) -> tuple[ServiceBundle, ...]:
    """The service files of one way of running everything, or of none.

    What was `installed` before keeps its options and services, as far as no other ones are given now.
    """
    if deployment == NONE:
        return ()
    if deployment not in DEPLOYMENTS:
        raise usage_error(f"--service {deployment}: there are {', '.join(DEPLOYMENTS)} and {NONE}")
    found = []
    for name, services in DEPLOYMENTS[deployment].bundles(DEFAULT_OPTIONS):
        manager = MANAGERS[name]
        given = _pairs_for(manager, pairs)
        remembered = find_services(installed, name, option_of(given, "name"))
        before = remembered.options if remembered else tuple(_usual_pairs(manager, site))
        options = merged_options(before, given)
        chosen = remembered.services if remembered else services
        pieces = compose(manager, site, ServiceOptions(options, tuple(SERVICES)), chosen, installed=False)
        found.append(ServiceBundle(manager, pieces, InstalledServices(name, pieces[0].values.name, chosen, options)))
    known = {key for bundle in found for key in bundle.manager.keys}
    for pair in pairs:
        if _key(pair) not in known:
            raise usage_error(f"--set {pair}: unknown for {deployment}; it has {', '.join(sorted(known))}")
    return tuple(found)


def _usual_pairs(manager: ServiceManager, site: Site) -> list[str]:
    """What this server wants otherwise than the single commands: one resident service, on both families."""
    usual = {"listener": "resident", "checkpassword": f"{site.bin}/qmail-chkpw /bin/true"}
    if _has_ipv6():
        usual["ipv6"] = "yes"
    return [f"{key}={value}" for key, value in usual.items() if key in manager.keys]


def _pairs_for(manager: ServiceManager, pairs: tuple[str, ...]) -> list[str]:
    """The pairs that concern a flavour; where there are two, a pair may concern one of them."""
    return [pair for pair in pairs if "=" not in pair or _key(pair) in manager.keys]


def _key(pair: str) -> str:
    return pair.partition("=")[0].rpartition(".")[2]


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
