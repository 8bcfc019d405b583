"""Deliveries to other hosts: a resident service, and the two programs that C has for it."""

import socket

from eqmail_core.values.site import Site


def run(site: Site, listener: socket.socket) -> None:
    """Serve as the remote role until TERM; see `pool`, which is loaded here to keep qmail-remote light."""
    from eqmail_core.services.remote.pool import run as serve

    serve(site, listener)
