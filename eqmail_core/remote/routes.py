"""Parse entries of smtproutes: RELAY[:PORT][ USER PASSWORD].

Source: delivery.md 5.6.
"""

from eqmail_core.mail.domain_match import find_by_host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


SMTP_PORT = 25
HIGHEST_PORT = 65535


class Route:
    """The route of a domain: `relay` (b"": its MX hosts), port, user and password, if any."""

    __slots__ = ("password", "port", "relay", "user")

    def __init__(
        self, relay: bytes = b"", port: int = SMTP_PORT, user: bytes | None = None, password: bytes = b""
    ) -> None:
        self.relay = relay
        self.port = port
        self.user = user
        self.password = password


def parse_route(value: bytes) -> Route:
    """Parse the text after the domain's colon.

    [ADDRESS] may be an IPv6 address; an invalid port becomes 25; a user without a password is ignored.
    Fails: never.
    """
    target, _, credentials = value.partition(b" ")
    if target.startswith(b"[") and b"]" in target:
        relay, _, rest = target.partition(b"]")
        relay, port = relay + b"]", rest.removeprefix(b":")
    else:
        relay, _, port = target.partition(b":")
    digits = port[: len(port) - len(port.lstrip(b"0123456789"))]
    number = int(digits) if digits and len(digits) <= 5 else 0
    number = number if 0 < number <= HIGHEST_PORT else SMTP_PORT
    user, blank, password = credentials.partition(b" ")
    if not (user and blank):
        return Route(relay, number)
    return Route(relay, number, user, password)


DIRECT = Route()


def route_for(routes: "Mapping[bytes, bytes] | None", host: bytes) -> Route:
    """Find the route for `host`: its whole name, then each suffix with a dot, then the empty key.

    Keys of `routes` are in lower case.  An empty value sends the host to its MX, as without a match.
    """
    if not routes:
        return DIRECT
    value = find_by_host(routes, host)
    if value is None:
        value = routes.get(b"")
    return parse_route(value) if value else DIRECT
