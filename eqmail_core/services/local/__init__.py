"""Local delivery: the spawner (root) and the agents (users)."""

import socket

from eqmail_core.values.site import Site


def run(site: Site, default_delivery: bytes, listener: socket.socket, asked_at: socket.socket) -> None:
    """Serve until TERM; see `spawner`, which is loaded here, in the process that needs it."""
    from eqmail_core.services.local.spawner import run as serve

    serve(site, default_delivery, listener, asked_at)
