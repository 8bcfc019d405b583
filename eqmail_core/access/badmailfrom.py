"""The envelope senders of control file badmailfrom, which are refused.

Source: control-files.md 2.2 "badmailfrom" (qmail-smtpd.c bmfcheck).
"""

from eqmail_core.mail.domain_match import domain_keys
from eqmail_core.mail.domain_name import table_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class BadSenders:
    """A set of entries BOX@HOST, @HOST and .SUFFIX; comparison ignores case."""

    __slots__ = ("_entries",)

    def __init__(self, entries: "Iterable[bytes] | None") -> None:
        self._entries = frozenset(table_key(entry) for entry in entries or ())

    def refuses(self, sender: bytes) -> bool:
        """Return whether mail from `sender` is refused."""
        entries = self._entries
        if not entries:
            return False
        sender = table_key(sender)
        if sender in entries:
            return True
        _, at, host = sender.rpartition(b"@")
        if not at:
            return False
        return b"@" + host in entries or any(key in entries for key in domain_keys(host) if key[:1] == b".")
