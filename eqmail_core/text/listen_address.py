"""Listen addresses: ADDRESS:PORT or [IPv6]:PORT, with the role of the listener before it.

    ADDRESS:PORT               mail from all clients; TLS by STARTTLS
    tls:ADDRESS:PORT           the same, with TLS from the first byte
    submission:ADDRESS:PORT    mail only after a login; TLS by STARTTLS
    submissions:ADDRESS:PORT   mail only after a login, with TLS from the first byte

Source: RFC 6409, RFC 8314 section 3.
"""

import re
from ipaddress import ip_address
from typing import NamedTuple


class ListenerRole(NamedTuple):
    """What clients of a listener have to do: speak TLS from the first byte, log in before MAIL."""

    is_tls: bool
    needs_login: bool


TRANSFER = ListenerRole(False, False)
"""The role of a listener without a word before its address: mail transfer from all clients."""

ROLES = {
    "": TRANSFER,
    "tls": ListenerRole(True, False),
    "submission": ListenerRole(False, True),
    "submissions": ListenerRole(True, True),
}
"""Every role by the word before the address; also the names of sockets that a service manager passes."""

WANTED = "is not ADDRESS:PORT or [IPv6]:PORT (before it, if anything, tls:, submission: or submissions:)"

_FORM = re.compile(r"(?:([a-z]+):)?(?:\[([0-9A-Fa-f:.]+)\]|([^:\s\[\]]*)):([0-9]{1,5})")


class ListenAddress(NamedTuple):
    """A parsed listen address; `host` is an address, a name, or "" for all IPv4 addresses."""

    role: ListenerRole
    host: str
    port: int


def parse_listen_address(text: str) -> ListenAddress | None:
    """Parse a listen address; None for invalid text."""
    form = _FORM.fullmatch(text)
    role = ROLES.get(form[1] or "") if form else None
    if form is None or role is None or not 0 < int(form[4]) < 1 << 16:
        return None
    host = form[2] or form[3]
    if form[2] or not host.strip("0123456789."):
        try:
            if host:
                ip_address(host)
        except ValueError:
            return None
    return ListenAddress(role, host, int(form[4]))
