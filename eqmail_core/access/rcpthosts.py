"""Whether mail for an address is accepted from everybody.

Source: control-files.md 2.3 (rcpthosts.c); qmail-smtpd(8).
"""

from eqmail_core.mail.domain_name import table_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class RcptHosts:
    """The domains of control file rcpthosts, and a look-up for the many more that may be compiled.

    `entries` None: there is no such file, and every address is accepted.  `is_more(names)` tells whether one of these,
    a host and its suffixes as `table_key` has them, is among the many; it raises Temporary when it cannot know.
    """

    __slots__ = ("_entries", "_is_more")

    def __init__(
        self, entries: "Iterable[bytes] | None", is_more: "Callable[[list[bytes]], bool]" = lambda names: False
    ) -> None:
        self._entries = None if entries is None else frozenset(table_key(entry) for entry in entries)
        self._is_more = is_more

    def accepts(self, address: bytes) -> bool:
        """Return whether mail for `address` is taken; an address without @ is one of ours.

        Fails: Temporary, as `is_more` says it.
        """
        entries = self._entries
        if entries is None:
            return True
        _, at, host = address.rpartition(b"@")
        if not at:
            return True
        host = table_key(host)
        if host in entries:
            return True
        names = [host, *dot_suffixes(host)]
        return not entries.isdisjoint(names) or self._is_more(names)


def dot_suffixes(host: bytes) -> list[bytes]:
    """Every part of `host` from one of its dots on, the longest first."""
    suffixes = []
    dot = host.find(b".")
    while dot >= 0:
        suffixes.append(host[dot:])
        dot = host.find(b".", dot + 1)
    return suffixes
