"""The checks of `eqmail doctor`, in order, and which findings are wanted."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from eqmail_core.site.site import Site
from eqmail_setup.diagnostics.checks import deliverability, dns, mail_auth, services, settings
from eqmail_setup.diagnostics.checks.database import check_database
from eqmail_setup.diagnostics.checks.filters import check_filters
from eqmail_setup.diagnostics.checks.limits import check_limits
from eqmail_setup.diagnostics.checks.old_programs import check_mailer, old_ways
from eqmail_setup.diagnostics.checks.senders import check_senders
from eqmail_setup.diagnostics.checks.start_scripts import check_start_scripts
from eqmail_setup.diagnostics.finding import SEVERITY_ORDER, Finding, going_on, is_selected


class Check(NamedTuple):
    """One group of findings: the function that finds them, and whether it asks other hosts.

    `find` gets the site and the addresses of SMTP servers to test.
    """

    find: Callable[[Site, tuple[str, ...]], Iterable[Finding]]
    asks_others: bool = False
    needs_queue: bool = False


def _local(*checks: Callable[[Site], Iterator[Finding]]) -> Callable[[Site, tuple[str, ...]], Iterator[Finding]]:
    return lambda site, addresses: (finding for check in checks for finding in check(site))


CHECKS = {
    "permissions": Check(_local(settings.check_permissions), needs_queue=True),
    "queue": Check(_local(settings.check_queue), needs_queue=True),
    "database": Check(_local(check_database), asks_others=True),
    "settings": Check(_local(settings.check_setting_files)),
    "users": Check(_local(settings.check_users, deliverability.check_accounts)),
    "aliases": Check(_local(settings.check_aliases, deliverability.check_alias_files)),
    "domains": Check(_local(deliverability.check_domains)),
    "relaying": Check(_local(settings.check_relaying)),
    "certificates": Check(_local(settings.check_certificates)),
    "dkim": Check(_local(mail_auth.check_keys)),
    "senders": Check(_local(check_senders)),
    "limits": Check(_local(check_limits), needs_queue=True),
    "filters": Check(_local(check_filters)),
    "scripts": Check(_local(check_start_scripts)),
    "programs": Check(_local(old_ways, check_mailer)),
    "listening": Check(services.check_listening),
    "selftest": Check(services.check_open_relay),
    "dns": Check(_local(dns.check_dns, mail_auth.check_records), asks_others=True),
}
"""Every group, in the order in which it is examined."""


def find_all(
    site: Site, only: Iterable[str], skip: Iterable[str], addresses: tuple[str, ...], offline: bool
) -> list[Finding]:
    """All findings that are wanted, the most serious first."""
    found = [
        finding
        for group, check in CHECKS.items()
        if not (check.asks_others and offline) and is_wanted(group, only, skip)
        for finding in going_on(group, iter(check.find(site, addresses)))
        if is_selected(finding.id, only, skip)
    ]
    return sorted(found, key=lambda finding: SEVERITY_ORDER.index(finding.severity))


def is_wanted(group: str, only: Iterable[str], skip: Iterable[str]) -> bool:
    """Whether any finding of a group may be wanted."""
    names = list(only)
    return group not in skip and (not names or any(name.partition(".")[0] == group for name in names))
