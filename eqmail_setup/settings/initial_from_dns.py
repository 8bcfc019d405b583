"""The first control files of an installation as C's config makes them, from the DNS names of this host.

C's config of 1.09 asks for plusdomain where it means locals, and so never writes them; here they are written.

Fails: OSError; Refusal where the DNS does not answer.
Source: control-files.md 2.5.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from eqmail_core.control.controls import Controls
from eqmail_core.site.site import Site
from eqmail_setup.network.dns import DnsLookupFailed, names_of, query
from eqmail_setup.network.hostnames import domains_of, is_host_name
from eqmail_setup.settings.classic_steps import ClassicStep
from eqmail_setup.settings.initial import folder, is_missing, plan_initial_value, scripts
from eqmail_setup.transaction.filesystem import Filesystem, snapshot


def local_names(name: str, own: Iterable[str]) -> dict[str, str]:
    """Every address of the host `name` with the name that the DNS gives it, "" for none.

    `own` are the addresses of this machine; those that can have no name in the DNS are left out.
    """
    addresses = {*query(name, "A"), *query(name, "AAAA"), *own}
    nameable = [item for item in map(ip_address, addresses) if not (item.is_unspecified or item.is_link_local)]
    return {str(item): _name(str(item)) for item in sorted(nameable, key=lambda item: (item.version, item))}


def _name(address: str) -> str:
    """The name; "" for an address without one, such as the private ones of many networks."""
    try:
        found = names_of(address)
    except DnsLookupFailed:
        return ""
    names = [name.lower() for name in found]
    return next(filter(is_host_name, names), "")


def plan_settings_from_dns(site: Site, name: str, names: dict[str, str], filesystem: Filesystem) -> list[ClassicStep]:
    """The lines of C, each with its action; `names` is the result of `local_names`."""
    domain, plus = domains_of(name)
    return [
        *folder(site.layout.control, filesystem),
        *plan_initial_value(site, filesystem, Controls.me, name, always=True),
        *plan_initial_value(site, filesystem, Controls.defaultdomain, domain),
        *plan_initial_value(site, filesystem, Controls.plusdomain, plus),
        *_plan_receiving_domains(site, name, names, filesystem),
        ("Now qmail will refuse to accept SMTP messages except to those hosts.", None),
        ("Make sure to change rcpthosts if you add hosts to locals or virtualdomains!", None),
        *scripts(site, filesystem),
    ]


def _plan_receiving_domains(
    site: Site, name: str, names: dict[str, str], filesystem: Filesystem
) -> Iterator[ClassicStep]:
    """locals, and rcpthosts as its copy."""
    file = f"{site.layout.control}/{Controls.locals.file}"
    if is_missing(site, filesystem, Controls.locals):
        yield " ", None
        yield "Checking local IP addresses:", None
        for address, found in names.items():
            said = (
                f"Adding {found} to {file}..." if found else "PTR lookup failed. I assume this address has no DNS name."
            )
            yield f"{address}: {said}", None
        # C leaves an empty file where no address has a name, and then nothing at all is local.
        local = "\n".join(dict.fromkeys(filter(None, names.values()))) or name
        yield from plan_initial_value(site, filesystem, Controls.locals, local, sentence=" ")
    else:
        yield " ", None
        state = snapshot(file, filesystem)
        local = (state.content if state else b"").decode("utf-8", "surrogateescape").rstrip("\n")
    yield "If there are any other domain names that point to you,", None
    yield f"you will have to add them to {site.control}/{Controls.locals.file}.", None
    yield "You don't have to worry about aliases, i.e., domains with CNAME records.", None
    yield " ", None
    target = f"{site.control}/{Controls.rcpthosts.file}"
    sentence = f"Copying {site.control}/{Controls.locals.file} to {target}..."
    yield from plan_initial_value(site, filesystem, Controls.rcpthosts, local, sentence=sentence)
