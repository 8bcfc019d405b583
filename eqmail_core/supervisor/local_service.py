"""The service of local delivery: the spawner (root), the carrier and the agents (users).

Light: qmail-local, which starts per message, imports this.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from eqmail_core.site.site import Site


def run(
    site: "Site",
    default_delivery: bytes,
    listener: "socket.socket",
    asked_at: "socket.socket",
    with_carrier: bool,
    at_once: int,
) -> None:
    """Serve until TERM; the code is loaded here, in the process that needs it."""
    from eqmail_core.local.service.spawner import run as serve

    serve(site, default_delivery, listener, asked_at, with_carrier, at_once)


def load() -> None:
    """Load the code, so that processes that are forked later share it."""
    from importlib import import_module

    import_module("eqmail_core.local.service.spawner")
