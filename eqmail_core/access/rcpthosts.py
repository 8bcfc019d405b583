"""The domains for which mail is accepted from any client.

Source: control-files.md 2.3 (rcpthosts.c); qmail-smtpd(8).
"""

from eqmail_core.mail.domain_match import domain_keys
from eqmail_core.mail.domain_name import table_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class RcptHosts:
    """The domains of control file rcpthosts, and a lookup in the compiled morercpthosts.

    `entries` None: the file does not exist, and every address is accepted.
    `is_more(names)` returns whether any of the names is in morercpthosts; it may raise TemporaryFailure.
    The names are a host and its suffixes, in the form of `table_key`.
    """

    __slots__ = ("_entries", "_is_more")

    def __init__(
        self, entries: "Iterable[bytes] | None", is_more: "Callable[[list[bytes]], bool]" = lambda names: False
    ) -> None:
        self._entries = None if entries is None else frozenset(table_key(entry) for entry in entries)
        self._is_more = is_more

    def accepts(self, address: bytes) -> bool:
        """Return whether mail for `address` is accepted; an address without @ is local.

        Fails: TemporaryFailure from `is_more`.
        """
        entries = self._entries
        if entries is None:
            return True
        _, at, host = address.rpartition(b"@")
        if not at:
            return True
        if table_key(host) in entries:
            return True
        names = domain_keys(host)
        return not entries.isdisjoint(names) or self._is_more(names)
