"""The queue service: the only one that may write the queue's messages."""

import socket
from importlib import import_module

from eqmail_core.site.site import Site


def run(site: Site, listener: socket.socket) -> None:
    """Serve until TERM; the code is loaded here, in the process that needs it."""
    from eqmail_core.queue.service.service import run as serve

    serve(site, listener)


def load() -> None:
    """Load the code, so that processes that are forked later share it."""
    import_module("eqmail_core.queue.service.service")
