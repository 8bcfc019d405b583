"""A complete message before acceptance: what filters see of it, and their changes.

Its bytes are in a `ByteStore` of the session's driver.  The trace lines put before it are not here, because filters do
not see them.
"""

from eqmail_core.dsn.parameters import NO_DSN, DsnParameters, render_dsn
from eqmail_core.dsn.smtp_parameters import read_mail, read_recipient
from eqmail_core.filters.milter import packets as wire
from eqmail_core.mail.header_editor import EditedHeader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Protocol

    from eqmail_core.filters.milter.modifications import Change

    class ByteStore(Protocol):
        """Bytes that can be read repeatedly."""

        size: int

        def append(self, data: bytes) -> None:
            """Add bytes."""

        def pieces(self, start: int = 0) -> Iterator[bytes]:
            """Yield the bytes from `start` on."""

        def close(self) -> None:
            """Discard the bytes."""


class FilteredMessage:
    """Envelope, header and body.

    `store`: the message as received, `head`: its start with the whole header.  `is_discarded`: accept the message but
    deliver it to no recipient.  `quarantined`: the reason for quarantine, b"" for none.
    """

    __slots__ = (
        "_body",
        "_body_start",
        "_dsn",
        "_dsn_of",
        "_store",
        "header",
        "is_discarded",
        "quarantined",
        "recipients",
        "sender",
    )

    def __init__(
        self,
        store: "ByteStore",
        head: bytes,
        sender: bytes,
        recipients: list[bytes],
        dsn: "DsnParameters | None" = None,
    ) -> None:
        self._store = store
        self._body: ByteStore | None = None
        self.header = EditedHeader(head)
        self._body_start = self.header.size
        self.sender = sender
        self._dsn = (
            DsnParameters()
            if dsn is None
            else DsnParameters(dsn.is_utf8, dsn.ret, dsn.envid, requires_tls=dsn.requires_tls)
        )
        # Parallel to the recipients.
        self._dsn_of = [NO_DSN if dsn is None else dsn.recipient(index) for index in range(len(recipients))]
        self.recipients = list(recipients)
        self.is_discarded = False
        self.quarantined = b""

    @property
    def size(self) -> int:
        """Approximate current size in bytes."""
        body = self._store.size - self._body_start if self._body is None else self._body.size
        return sum(map(len, self.header.fields)) + 1 + body

    def body_pieces(self) -> "Iterator[bytes]":
        """Yield the current body, after the empty line."""
        if self._body is not None:
            yield from self._body.pieces()
            return
        is_first = True
        for piece in self._store.pieces(self._body_start):
            yield piece.removeprefix(b"\n") if is_first else piece
            is_first = False

    def pieces(self) -> "Iterator[bytes]":
        """Yield the whole current message."""
        if self._body is None:
            start = next(self._store.pieces(self._body_start), b"")[:1]
            yield self.header.render(start)
            yield from self._store.pieces(self._body_start)
        else:
            yield self.header.render(b"\n") + b"\n"
            yield from self._body.pieces()

    def replace_body(self, body: "ByteStore") -> None:
        """Replace the body; the message then owns `body`."""
        if self._body is not None:
            self._body.close()
        self._body = body

    def apply(self, changes: "list[Change]") -> None:
        """Apply changes in order."""
        for letter, index, name, value in changes:
            _CHANGES[letter](self, index, name, value)

    def prepend(self, fields: list[bytes]) -> None:
        """Prepend header fields without LF, in this order."""
        for field in reversed(fields):
            name, _, value = field.partition(b":")
            self.header.insert(0, name, value)

    def remaining_dsn(self) -> bytes:
        """Return the DSN parameters of the message and its current recipients, as a list."""
        return render_dsn(self._dsn.with_recipients(self._dsn_of))

    def redirect(self, recipient: bytes) -> None:
        """Make this the only recipient, without notifications on failure."""
        self.sender, self.recipients, self._dsn_of = b"", [recipient], [NO_DSN]

    def close(self) -> None:
        """Discard all data."""
        self._store.close()
        if self._body is not None:
            self._body.close()

    # --- changes

    def _add_header(self, index: int, name: bytes, value: bytes) -> None:
        self.header.add(name, value)

    def _insert_header(self, index: int, name: bytes, value: bytes) -> None:
        self.header.insert(index, name, value)

    def _change_header(self, index: int, name: bytes, value: bytes) -> None:
        self.header.change(index, name, value)

    def _add_recipient(self, index: int, address: bytes, parameters: bytes) -> None:
        if address not in self.recipients:
            self.recipients.append(address)
            self._dsn_of.append(read_recipient(parameters) or NO_DSN)

    def _delete_recipient(self, index: int, address: bytes, value: bytes) -> None:
        wanted = address.lower()
        kept = [place for place, recipient in enumerate(self.recipients) if recipient.lower() != wanted]
        self.recipients = [self.recipients[place] for place in kept]
        self._dsn_of = [self._dsn_of[place] for place in kept]

    def _change_sender(self, index: int, address: bytes, parameters: bytes) -> None:
        """Parameters given replace the old ones; others stay."""
        self.sender = address
        new, old = read_mail(parameters, True, True) or DsnParameters(), self._dsn
        self._dsn = DsnParameters(
            new.is_utf8 or old.is_utf8,
            new.ret or old.ret,
            new.envid or old.envid,
            requires_tls=old.requires_tls,
        )

    def _quarantine(self, index: int, reason: bytes, value: bytes) -> None:
        self.quarantined = reason or b"no reason given"


_CHANGES: "dict[bytes, Callable[[FilteredMessage, Any, bytes, bytes], None]]" = {
    wire.ADD_HEADER: FilteredMessage._add_header,
    wire.INSERT_HEADER: FilteredMessage._insert_header,
    wire.CHANGE_HEADER: FilteredMessage._change_header,
    wire.ADD_RECIPIENT: FilteredMessage._add_recipient,
    wire.ADD_RECIPIENT_PARAMETERS: FilteredMessage._add_recipient,
    wire.DELETE_RECIPIENT: FilteredMessage._delete_recipient,
    wire.CHANGE_SENDER: FilteredMessage._change_sender,
    wire.QUARANTINE: FilteredMessage._quarantine,
}
