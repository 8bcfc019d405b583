"""Decides the channel of a recipient and rewrites its address for that channel.

Source: queue.md 3.8 (qmail-send.c rewrite, stripvdomprepend).
"""

from collections.abc import Iterable, Mapping

from eqmail_core.mail.domain_match import domain_keys
from eqmail_core.mail.domain_name import table_key
from eqmail_core.queue.format.channels import LOCAL, REMOTE

# Cached recipients; a full cache is cleared at once, which costs less than keeping an order.
_REMEMBERED = 4096

# The key of virtualdomains for every host that has no other.
_REST = b""


class Routes:
    """The routing tables of one installation; repeated recipients are cached.

    `locals` and `percenthack` are domains. `virtual` maps keys (as `table_key` returns them) to prefixes.
    `envnoathost` is appended to addresses without a host.
    """

    __slots__ = ("_envnoathost", "_known", "_locals", "_percenthack", "_virtual")

    def __init__(
        self,
        envnoathost: bytes,
        locals: Iterable[bytes] = (),
        percenthack: Iterable[bytes] = (),
        virtual: Mapping[bytes, bytes] | None = None,
    ) -> None:
        self._envnoathost = envnoathost
        self._locals = frozenset(table_key(domain) for domain in locals)
        self._percenthack = frozenset(table_key(domain) for domain in percenthack)
        self._virtual = dict(virtual or {})
        self._known: dict[bytes, tuple[int, bytes]] = {}

    def route(self, recipient: bytes) -> tuple[int, bytes]:
        """Return channel and address of one recipient.

        The first match wins: percenthack, locals, then virtualdomains from the whole address over the host to its
        shortest suffix; everything else is remote.  An empty prefix is an exception: remote.
        """
        known = self._known.get(recipient)
        if known is not None:
            return known
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        routed = self._known[recipient] = self._decide(recipient)
        return routed

    def _decide(self, recipient: bytes) -> tuple[int, bytes]:
        address = recipient if b"@" in recipient else recipient + b"@" + self._envnoathost
        box, _, host = address.rpartition(b"@")
        while table_key(host) in self._percenthack and b"%" in box:
            box, _, host = box.rpartition(b"%")
        address = box + b"@" + host
        if table_key(host) in self._locals:
            return LOCAL, address
        if self._virtual:
            for key in (table_key(address), *domain_keys(host), _REST):
                prefix = self._virtual.get(key)
                if prefix is not None:
                    return (LOCAL, prefix + b"-" + address) if prefix else (REMOTE, address)
        return REMOTE, address

    def original_address(self, recipient: bytes) -> bytes:
        """Return the address without its virtual domain prefix, as its sender wrote it."""
        _, at, host = recipient.rpartition(b"@")
        if not at:
            return recipient
        for key in (*domain_keys(host), _REST):
            prefix = self._virtual.get(key)
            if prefix is not None:
                return recipient[len(prefix) + 1 :] if prefix and recipient.startswith(prefix + b"-") else recipient
        return recipient
