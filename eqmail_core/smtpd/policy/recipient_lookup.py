"""Select the recipients to look up, and their name on the delivering side.

Source: control file rcptcheck.
"""

from eqmail_core.mail.domain_match import find_by_host
from eqmail_core.mail.domain_name import table_key
from eqmail_core.queue.format.channels import LOCAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from eqmail_core.queue.routing import Routes

_ALL = b"*"
_NOT = b"!"


class RecipientCheck:
    """The domains whose recipients are looked up.

    An entry is a domain, a suffix with its dot, or `*` for all; `!` before it makes an exception.  The most specific
    entry for a domain counts.  `routes` are the routing tables of the delivering side.
    """

    __slots__ = ("_checks", "_routes")

    def __init__(self, entries: "Iterable[bytes]", routes: "Routes") -> None:
        self._checks = {table_key(entry.lstrip(_NOT)): not entry.startswith(_NOT) for entry in entries}
        self._routes = routes

    def wanted(self, recipient: bytes) -> bytes | None:
        """Return the recipient as the delivery would use it; None if no lookup applies.

        No lookup applies to mail for another host.
        """
        if b"\0" in recipient:
            return None
        channel, address = self._routes.route(recipient)
        if channel != LOCAL:
            return None
        is_wanted = find_by_host(self._checks, address.rpartition(b"@")[2])
        if is_wanted is None:
            is_wanted = self._checks.get(_ALL, False)
        return address if is_wanted else None
