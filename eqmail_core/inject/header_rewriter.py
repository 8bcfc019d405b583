"""Rewrites the header of an injected message, and derives its envelope.

Pure: fields in, fields and addresses out; clock and process id are arguments.

Source: delivery.md 5.7 (qmail-inject.c); qmail-header(5), qmail-inject(8).
"""

from eqmail_core.inject.host_defaults import BadAddress
from eqmail_core.mail.address import VERP_SUFFIX, quote_address
from eqmail_core.mail.address_list import Unparsable, render, rewrite_addresses, text_of, tokenise
from eqmail_core.mail.dates import date822, stamp_utc
from eqmail_core.mail.header import field_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eqmail_core.inject.host_defaults import HostDefaults
    from eqmail_core.inject.originator import Originator
    from eqmail_core.mail.address_list import Token

_SHOWN_RECIPIENTS = (b"to", b"cc")
_RECIPIENTS = (*_SHOWN_RECIPIENTS, b"bcc", b"apparently-to")
_RESENT_RECIPIENTS = (b"resent-to", b"resent-cc", b"resent-bcc")
_ORIGINATORS = (
    *(b"sender", b"from", b"reply-to", b"return-receipt-to", b"errors-to"),
    *(b"resent-sender", b"resent-from", b"resent-reply-to"),
)
_DROPPED = (b"bcc", b"resent-bcc", b"return-path", b"content-length")
_RESENT = frozenset(
    (*_RESENT_RECIPIENTS, b"resent-sender", b"resent-from", b"resent-reply-to", b"resent-date", b"resent-message-id")
)
_NOBODY_SHOWN = b"Cc: recipient list not shown: ;\n"


class HeaderRewriter:
    """One message to inject.

    First comes the command line (`use_sender`, `add_recipient`), then the header (`take_header`).  Afterwards `header`,
    `sender` and `recipients` are what to queue.
    `lists`: addresses of mailing lists in lower case that require Mail-Followup-To.
    Fails: BadAddress.
    """

    def __init__(
        self,
        rules: "HostDefaults",
        originator: "Originator",
        id_host: bytes,
        now: float,
        pid: int,
        lists: "Sequence[bytes]" = (),
    ) -> None:
        self._rules = rules
        self._originator = originator
        self._id_host = id_host
        self._now = now
        self._pid = pid
        self._lists = frozenset(lists)
        self._arguments: list[bytes] = []
        self._in_header: list[bytes] = []
        self._in_resent: list[bytes] = []
        self._shown: list[bytes] = []
        self._sender: bytes | None = None
        self._is_resent = False
        self.header = b""

    def use_sender(self, address: bytes) -> None:
        """Use the envelope sender of the command line; no header field replaces it."""
        try:
            self._sender = self._rules.complete_text(address)
        except Unparsable as error:
            raise BadAddress.in_line(quote_address(address)) from error

    def add_recipient(self, address: bytes) -> None:
        """Add a recipient of the command line."""
        try:
            self._arguments.append(self._rules.complete_text(address))
        except Unparsable as error:
            raise BadAddress(b"unable to parse address: " + address + b"\n") from error

    def take_header(self, fields: list[bytes]) -> None:
        """Rewrite the fields of the message, and add those that are missing."""
        named = [(field_name(field), field) for field in fields]
        named = [(name, field) for name, field in named if name not in self._originator.unwanted]
        seen = {name for name, _ in named}
        kept = []
        for name, field in named:
            rewrite = self._rewriter(name)
            if rewrite is not None:
                field = self._rewritten(field, rewrite)
            if name not in _DROPPED:
                kept.append(field)
        self._is_resent = not _RESENT.isdisjoint(seen)
        if self._sender is None:
            self._make_sender()
        self.header = b"".join((*self._missing(seen), *kept))

    @property
    def sender(self) -> bytes:
        """The envelope sender."""
        return self._sender or b""

    def recipients(self, with_header: bool) -> list[bytes]:
        """The envelope recipients: of the command line, then, with `with_header`, of the header."""
        found = self._in_resent if self._is_resent else self._in_header
        return self._arguments + found if with_header else self._arguments

    def _rewriter(self, name: bytes) -> "Callable[[list[Token]], list[Token]] | None":
        """The function that rewrites each address of a field; None for fields without addresses."""
        if name in _SHOWN_RECIPIENTS:
            return self._collector(self._in_header, self._shown)
        if name in _RECIPIENTS:
            return self._collector(self._in_header)
        if name in _RESENT_RECIPIENTS:
            return self._collector(self._in_resent)
        if name == b"return-path":
            return self._complete_sender
        return self._rules.complete if name in _ORIGINATORS else None

    def _collector(self, *lists: list[bytes]) -> "Callable[[list[Token]], list[Token]]":
        def collect(address: "list[Token]") -> "list[Token]":
            address = self._rules.complete(address)
            for recipients in lists:
                recipients.append(text_of(address))
            return address

        return collect

    def _complete_sender(self, address: "list[Token]") -> "list[Token]":
        address = self._rules.complete(address)
        if self._sender is None:
            self._sender = text_of(address) + (VERP_SUFFIX if self._originator.per_recipient else b"")
        return address

    def _rewritten(self, field: bytes, rewrite: "Callable[[list[Token]], list[Token]]") -> bytes:
        try:
            return render(rewrite_addresses(tokenise(field), rewrite))
        except Unparsable as error:
            raise BadAddress.in_line(field) from error

    def _make_sender(self) -> None:
        made = render(self._originator.return_path_tokens(self._now, self._pid))
        self._rewritten(made, self._complete_sender)

    def _missing(self, seen: set[bytes]) -> list[bytes]:
        prefix, title = (b"resent-", b"Resent-") if self._is_resent else (b"", b"")
        found = []
        if prefix + b"date" not in seen:
            found.append(title + b"Date: " + date822(self._now) + b"\n")
        if prefix + b"message-id" not in seen:
            stamp = stamp_utc(self._now)
            found.append(title + b"Message-ID: <%b.%d.qmail@%b>\n" % (stamp, self._pid, self._id_host))
        if prefix + b"from" not in seen:
            found.append(title + self._rewritten(render(self._originator.from_tokens()), self._rules.complete))
        if seen.isdisjoint((prefix + b"to", prefix + b"cc")):
            found.append(title + _NOBODY_SHOWN)
        if not self._is_resent and b"mail-followup-to" not in seen:
            found.append(self._followup())
        return found

    def _followup(self) -> bytes:
        """Mail-Followup-To with all recipients if one of them is a mailing list; else nothing."""
        if self._lists.isdisjoint([address.lower() for address in self._shown]):
            return b""
        everybody = [quote_address(address) for address in reversed(self._shown)]
        return b"Mail-Followup-To: " + b",\n  ".join(everybody) + b"\n"
