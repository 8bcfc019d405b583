"""How well TLS protects mail to a domain: the decision of the remote deliveries about each of its servers.

Nothing connects to the servers; only the DNS is asked.

Fails: EqmailError where the domain has no servers, or the DNS gives no answer.
"""

import random
from typing import NamedTuple

from eqmail_core.dns.resolver import BlockingResolver
from eqmail_core.dns.search import run_search_blocking
from eqmail_core.dns.validation import ValidationTrust, trust_of
from eqmail_core.outcome import Failure
from eqmail_core.remote.plan import PlanEnvironment, RemotePlan, names_of_this_host, plan_delivery
from eqmail_core.remote.tls_policy import choose_policy, policy_for
from eqmail_core.site.site import Site
from eqmail_core.smtp.connect import literal_address
from eqmail_core.system.installation import read_controls
from eqmail_core.system.own_addresses import own_addresses
from eqmail_core.tls.client_policy import IMPLICIT_TLS_PORT
from eqmail_core.tls.policy import UnusableServer
from eqmail_setup.errors import EqmailError

TIMEOUT_S = 30.0
"""Time limit of all questions about one server, in seconds."""

DEFERRED = "deferred"
"""The level of a server that gets no mail now."""


class ServerTls(NamedTuple):
    """One server, best first: the level of TLS that mail to it has at least, and why."""

    name: str
    port: int
    level: str
    why: str


def resolver_for(trust: ValidationTrust) -> BlockingResolver:
    """The name servers of the system."""
    return BlockingResolver(timeout_s=TIMEOUT_S, trust=trust)


def check_tls(site: Site, domain: str) -> list[ServerTls]:
    """Ask the DNS about the servers of a domain, and decide about each."""
    controls = read_controls(site)
    trust = trust_of(controls.dnssec)
    resolver = resolver_for(trust)
    environment = PlanEnvironment(literal_address, own_addresses, random.shuffle)
    own_names = names_of_this_host(controls.me, controls.helohost)
    host = domain.encode()
    search = plan_delivery(host, b"", [b"postmaster@" + host], controls.smtproutes, environment, own_names)
    servers: dict[bytes, ServerTls] = {}
    try:
        plan: RemotePlan = run_search_blocking(resolver, search, TIMEOUT_S)
        for candidate in plan.candidates:
            if candidate.name in servers:
                continue
            files = policy_for(site, candidate.name, plan.route.port == IMPLICIT_TLS_PORT)
            choice = choose_policy(files, candidate, plan, False, None, bytes)
            policy = run_search_blocking(resolver, choice, TIMEOUT_S)
            if isinstance(policy, UnusableServer):
                level, why = DEFERRED, policy.reason.decode("latin-1")
            else:
                level, why = policy.level.decode(), _reason(policy.why, policy.demanded_by, policy.is_wanted)
                why = why or _without_dane(trust, candidate.is_authentic or bool(candidate.canonical))
            servers[candidate.name] = ServerTls(candidate.name.decode("latin-1"), plan.route.port, level, why)
    except Failure as failure:
        raise EqmailError(f"{domain}: {' '.join(failure.text.decode('latin-1').split())}") from failure
    return list(servers.values())


def _reason(why: bytes, demanded_by: bytes, is_wanted: bool) -> str:
    if demanded_by:
        return demanded_by.decode("latin-1")
    return why.decode("latin-1") if is_wanted else "control/notlshosts, or an exhaustive list in control/tlshosts"


def _without_dane(trust: ValidationTrust, is_authentic: bool) -> str:
    if not trust:
        return "control/dnssec trusts no name server"
    return "no TLSA records" if is_authentic else "DNSSEC does not prove its address"
