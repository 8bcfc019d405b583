"""The service of the scheduler."""

import socket
from importlib import import_module

from eqmail_core.mail import domain_name
from eqmail_core.site.site import Site


def run(site: Site, log_fd: int, remotes: list[str], control: socket.socket | None = None) -> None:
    """Schedule for this installation until TERM; the code is loaded here, where it is needed."""
    from eqmail_core.scheduler.service import run as serve

    serve(site, log_fd, remotes, control)


def load() -> None:
    """Load the code, so that processes that are forked later share it."""
    import_module("eqmail_core.scheduler.service")
    domain_name.preload()
