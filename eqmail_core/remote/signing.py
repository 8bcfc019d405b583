"""DKIM signatures of the messages that leave this host: made once per message, kept for its other recipients.

Signed is what began here (`mail_auth.origin`), with the keys of its author's domain; see docs/mail-authentication.md.

Fails: TemporaryFailure for keys that cannot be used; MessageUnreadable.
"""

import time

from eqmail_core.access.networks import NetworkSet
from eqmail_core.mail.header_editor import EditedHeader
from eqmail_core.mail_auth.authors import author_domains
from eqmail_core.mail_auth.origin import began_here, is_forwarded
from eqmail_core.remote.signing_keys import SigningKeys
from eqmail_core.system.message_file import MessageFile
from eqmail_core.system.own_addresses import own_addresses
from eqmail_core.tcpserver.rules_database import find_rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from eqmail_core.control.controls import Controls
    from eqmail_core.mail_auth.dkim_sign import DkimSigningKey

MAX_HEADER = 1 << 20
"""Longest header that is signed, in bytes."""

_RELAY = b"RELAYCLIENT"


class OriginRules:
    """Which mail began here: the names of this host, and the clients that may relay.

    `rules`: path of tcprules.cdb.
    """

    __slots__ = ("_names", "_networks", "_rules")

    def __init__(self, controls: "Controls", own_names: "Collection[bytes]", rules: str) -> None:
        self._names = frozenset(own_names) | {name.lower() for name in controls.locals or ()}
        self._networks = NetworkSet(controls.relayclients)
        self._rules = rules

    def began_here(self, fields: "Sequence[bytes]") -> bool:
        """Return whether a message with these header fields began here."""
        addresses = {address.encode() for address in own_addresses()}
        return began_here(fields, self._names | addresses, self._may_relay)

    def _may_relay(self, ip: bytes) -> bool:
        if self._networks.includes(ip):
            return True
        try:
            rule = find_rule(self._rules, ip, None, None)
        except OSError:
            return False
        return rule is not None and _RELAY in rule.variables


def steps_of_signing(origin: OriginRules, keys: SigningKeys, message: MessageFile) -> "Iterator[bytes | None]":
    """Yield None after each piece of work, then the signature fields, b"" for none."""
    header = read_header(message)
    if header is not None and origin.began_here(header.fields):
        for domain in author_domains(header.fields):
            own = keys.keys_for(domain)
            if own:
                yield from _signed(header, own, message)
                return
    yield b""


def is_forward(message: MessageFile) -> bool:
    """Return whether this host has forwarded a message.  Fails: MessageUnreadable."""
    header = read_header(message)
    return header is not None and is_forwarded(header.fields)


def read_header(message: MessageFile) -> EditedHeader | None:
    """Return the header; None if it is too long.  Fails: MessageUnreadable."""
    head = b""
    for piece in message.chunks():
        head += piece
        if b"\n\n" in head:
            break
        if len(head) > MAX_HEADER:
            return None
    return EditedHeader(head)


def _signed(header: EditedHeader, keys: "Sequence[DkimSigningKey]", message: MessageFile) -> "Iterator[bytes | None]":
    from eqmail_core.mail_auth.canonical import RELAXED, BodyHashes
    from eqmail_core.mail_auth.dkim_sign import sign

    body = BodyHashes([RELAXED])
    # The empty line after the header is not part of the body.
    skipped, is_first = header.size, True
    for piece in message.chunks():
        rest = piece[skipped:]
        skipped = max(0, skipped - len(piece))
        if rest and is_first:
            rest, is_first = rest.removeprefix(b"\n"), False
        body.feed(rest)
        yield None
    yield b"".join(sign(header.fields, body.finish()[RELAXED], keys, int(time.time())))
