"""Which recipients are looked up before they are accepted, and under which name the delivering side knows them.

Source: control file rcptcheck.
"""

from eqmail_core.access.rcpthosts import dot_suffixes
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

    An entry is a domain, a suffix with its dot, or `*` for all; with `!` before it, it is an exception.  The entry that
    says most about a domain counts.  `routes` are the tables of the delivering side.
    """

    __slots__ = ("_checks", "_routes")

    def __init__(self, entries: "Iterable[bytes]", routes: "Routes") -> None:
        self._checks = {table_key(entry.lstrip(_NOT)): not entry.startswith(_NOT) for entry in entries}
        self._routes = routes

    def wanted(self, recipient: bytes) -> bytes | None:
        """The recipient as a delivery would be ordered for it; None where nothing is to be looked up.

        Nothing is where the mail goes to another host.
        """
        if b"\0" in recipient:
            return None
        channel, address = self._routes.route(recipient)
        if channel != LOCAL:
            return None
        host = table_key(address.rpartition(b"@")[2])
        for name in (host, *dot_suffixes(host), _ALL):
            if name in self._checks:
                return address if self._checks[name] else None
        return None
