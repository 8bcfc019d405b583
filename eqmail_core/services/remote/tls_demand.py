"""Hosts to which mail may go only by TLS: their mail waits as long as we have no TLS to offer.

Source: delivery.md 5.6 (TLS client).
"""

import os

from eqmail_core.control.declared import TLS_HOSTS
from eqmail_core.policy.mx import Candidate
from eqmail_core.values.outcome import Temporary
from eqmail_core.values.site import Site

IMPLICIT_TLS_PORT = 465


def refuse_plain_text(site: Site, candidate: Candidate, port: int) -> None:
    """Fails: Temporary when mail to this candidate must not go in plain text, or cannot."""
    ip = candidate.ip.encode()
    if port == IMPLICIT_TLS_PORT:
        raise Temporary(b"TLS connect failed: not supported; connecting to %b." % ip)
    name = candidate.name.lower()
    if b"/" in name:
        return
    path = f"{site.layout.control}/{TLS_HOSTS}/{os.fsdecode(name)}.pem"
    if os.path.exists(f"{site.home}/{path}"):
        raise Temporary(b"No TLS achieved while %b exists; connecting to %b." % (os.fsencode(path), ip))
