"""config: write the first control files from DNS: the name of this host and the names of its addresses.

`me` always follows the DNS; defaultdomain, plusdomain, locals, rcpthosts, smtpplugins and beforemote are written where
they are missing. locals gets the name of every address of this host; rcpthosts becomes a copy of locals. A host that
the DNS does not know is named with config-fast.

Exits: 0, 100 where the DNS does not know this host, 111 where it is silent.  Source: control-files.md 2.5 (config.sh).
"""

import socket
from collections.abc import Mapping, Sequence

from eqmail_core.outcome import EXIT_PERMANENT
from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_site
from eqmail_core.system.own_addresses import own_addresses
from eqmail_setup.legacy.console import fatal, run_to_exit_code, write_line
from eqmail_setup.network.dns import DnsLookupFailed, canonical_name
from eqmail_setup.network.hostnames import require_host_name
from eqmail_setup.settings.classic_steps import run_steps
from eqmail_setup.settings.initial_from_dns import local_names, plan_settings_from_dns

_REMEDY = "name this host yourself: config-fast FQDN"


def main(argv: Sequence[bytes], environ: Mapping[bytes, bytes]) -> int:
    """Write them."""
    site = read_site(environ)
    return run_to_exit_code("config", lambda: _configure(site))


def _configure(site: Site) -> int:
    host = socket.gethostname().lower()
    write_line(f"Your hostname is {host}.")
    try:
        name = canonical_name(host)
    except DnsLookupFailed as silence:
        _sorry()
        return fatal("config", f"{silence.text}; look at /etc/resolv.conf, or {_REMEDY}")
    if not name:
        _sorry()
        return fatal("config", f"the DNS knows no {host}; publish an address for it, or {_REMEDY}", EXIT_PERMANENT)
    require_host_name(name)
    write_line(f"Your host's fully qualified name in DNS is {name}.")
    names = local_names(name, own_addresses())
    return run_steps(site, "config", lambda world: plan_settings_from_dns(site, name, names, world), write_line)


def _sorry() -> None:
    write_line("Sorry, I couldn't find your host's canonical name in DNS.")
    write_line("You will have to set up control/me yourself.")
