"""What TLS mail to another server is to have, in words: asked of the policy that qmail-remote goes by.

Fails: OSError where the folders of the settings cannot be read.
Source: delivery.md 5.6 (TLS client).
"""

import os

from eqmail_core.control.folders import ONLY_LISTED, PLAIN_HOSTS, TLS_HOSTS
from eqmail_core.site.site import Site
from eqmail_core.tls.client_policy import IMPLICIT_TLS_PORT, ClientTlsFiles, tls_policy


def tls_with(site: Site, host: str, port: int) -> str:
    """The TLS requirement for one server as text."""
    places = (os.fsencode(f"{site.control}/{name}") for name in (TLS_HOSTS, PLAIN_HOSTS, ONLY_LISTED))
    dsn = tls_policy(os.fsencode(host), port == IMPLICIT_TLS_PORT, ClientTlsFiles(*places), os.path.exists)
    if dsn.demanded_by:
        return f"TLS required, certificate verified against {os.fsdecode(dsn.demanded_by)}"
    if dsn.is_implicit:
        return "by TLS from the beginning"
    return "by TLS where it is offered" if dsn.is_wanted else "never by TLS"
