"""Which route mail for a host takes: the first key of smtproutes that matches.

Source: delivery.md 5.6; qmail-remote(8).
"""

from eqmail_core.remote.by_host import find_by_host
from eqmail_core.remote.routes import Route, parse_route

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

DIRECT = Route()


def route_for(routes: "Mapping[bytes, bytes] | None", host: bytes) -> Route:
    """Find the route for `host`: its whole name, then each suffix that begins with a dot, then the empty key.

    Keys of `routes` are in lower case.  An empty value sends the host to its MX, like no match at all.
    """
    if not routes:
        return DIRECT
    value = find_by_host(routes, host)
    if value is None:
        value = routes.get(b"")
    return parse_route(value) if value else DIRECT
