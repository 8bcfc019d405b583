"""The service of remote delivery."""

import socket
from importlib import import_module

from eqmail_core.dns import resolver
from eqmail_core.mail import domain_name
from eqmail_core.site.site import Site


def run(site: Site, listener: socket.socket) -> None:
    """Serve as the remote role until TERM; the code is loaded here, to keep qmail-remote light."""
    from eqmail_core.remote.service import run as serve

    serve(site, listener)


def load() -> None:
    """Load the code, so that processes that are forked later share it."""
    import_module("eqmail_core.remote.service")
    resolver.preload()
    domain_name.preload()
