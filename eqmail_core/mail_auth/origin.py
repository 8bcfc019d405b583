"""Whether a message began at this host, by the Received fields that this host has written itself.

Began here: what a local program or this host injected, what a client sent that had logged in or may relay. Did not:
forwarded mail of unauthenticated clients, whatever its author's domain.

Only the topmost field of an SMTP client counts. This host wrote it if the message came by SMTP; everything below it may
be forged.

Source: smtp-server.md 4.4 (the fields); RFC 3848 (protocol names that end in A).
"""

import re

from eqmail_core.mail.header import field_name, field_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

_FROM_CLIENT = re.compile(
    rb"from \S+(?: \(HELO \S+\))? \((?:\S+@)?([0-9A-Fa-f.:]+|unknown)\)\s+by (\S+) with ([A-Z0-9]+)([^;]*);"
)
_LOGGED_IN = re.compile(rb"(?:UTF8SMTP|ESMTP)S?A")
_BY_CERTIFICATE = b"(cert "


def began_here(fields: "Iterable[bytes]", own_names: "Collection[bytes]", may_relay: "Callable[[bytes], bool]") -> bool:
    """Return whether the message with these header fields began at this host.

    `own_names`: names and addresses of this host, in lower case. `may_relay(ip)`: whether a client may relay.
    """
    for field in fields:
        text = field_text(field)
        if field_name(field) != b"received" or text.startswith(b"(qmail "):
            continue
        found = _FROM_CLIENT.match(text)
        if found is None or found[2].lower() not in own_names:
            return False
        ip, _, protocol, more = found.groups()
        return bool(_LOGGED_IN.fullmatch(protocol)) or _BY_CERTIFICATE in more or may_relay(ip)
    return True


def is_forwarded(fields: "Iterable[bytes]") -> bool:
    """Return whether this host has forwarded a message: a Delivered-To stands above every Received of another host."""
    for field in fields:
        name = field_name(field)
        if name == b"delivered-to":
            return True
        if name == b"received" and not field_text(field).startswith(b"(qmail "):
            return False
    return False
