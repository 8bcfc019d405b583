"""config: write the first control files from what the DNS says of this host: its name, and those of its addresses.

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
from eqmail_setup.legacy.console import ended, fatal, say
from eqmail_setup.network.dns import Unanswered, canonical_name
from eqmail_setup.network.hostnames import demand_host_name
from eqmail_setup.settings.classic_steps import take
from eqmail_setup.settings.initial_from_dns import local_names, settings_from_dns

_REMEDY = "name this host yourself: config-fast FQDN"


def main(argv: Sequence[bytes], environ: Mapping[bytes, bytes]) -> int:
    """Write them."""
    site = read_site(environ)
    return ended("config", lambda: _configure(site))


def _configure(site: Site) -> int:
    host = socket.gethostname().lower()
    say(f"Your hostname is {host}.")
    try:
        name = canonical_name(host)
    except Unanswered as silence:
        _sorry()
        return fatal("config", f"{silence.fact}; look at /etc/resolv.conf, or {_REMEDY}")
    if not name:
        _sorry()
        return fatal("config", f"the DNS knows no {host}; publish an address for it, or {_REMEDY}", EXIT_PERMANENT)
    demand_host_name(name)
    say(f"Your host's fully qualified name in DNS is {name}.")
    names = local_names(name, own_addresses())
    return take(site, "config", lambda world: settings_from_dns(site, name, names, world), say)


def _sorry() -> None:
    say("Sorry, I couldn't find your host's canonical name in DNS.")
    say("You will have to set up control/me yourself.")
