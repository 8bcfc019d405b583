"""Receipts: notices of delivery that a message requests in its header.

Source: delivery.md 5.9 (qreceipt.c); qreceipt(1).
"""

from eqmail_core.mail.address import DOUBLE_BOUNCE, NULL_SENDER, header_address
from eqmail_core.mail.address_list import Unparsable, rewrite_addresses, text_of, tokenise
from eqmail_core.mail.header import field_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.mail.address_list import Token

_REQUEST = b"notice-requested-upon-delivery-to"
_NOTICE = (
    b"From: DELIVERY NOTICE SYSTEM <%b>\nTo: <%b>\nSubject: success notice\n\n"
    b"Hi! This is the qreceipt program. Your message was delivered to the\n"
    b"following address: %b. Thanks for asking.\n"
)


class CannotParse(Exception):
    """The request in the header is no list of addresses; `field` is the request."""

    def __init__(self, field: bytes) -> None:
        super().__init__(field.decode("latin-1"))
        self.field = field


def receipt_for(fields: list[bytes], address: bytes, sender: bytes) -> bytes:
    """The notice to the sender that `address` got the message.

    b"" if none is requested from `address`, or if the sender is null or that of a double bounce.
    Fails: CannotParse.
    """
    wanted: list[bytes] = []
    message_id = b""
    for field in fields:
        name = field_name(field)
        if name == _REQUEST:
            wanted += _addresses(field)
        elif name == b"message-id":
            message_id = field
    if address not in wanted or sender in (NULL_SENDER, DOUBLE_BOUNCE):
        return b""
    quoted = header_address(sender)
    notice = _NOTICE % (quoted, quoted, address)
    return notice + b"Your " + message_id if message_id else notice


def _addresses(field: bytes) -> list[bytes]:
    found: list[bytes] = []

    def note(address: "list[Token]") -> "list[Token]":
        found.append(text_of(address))
        return address

    try:
        rewrite_addresses(tokenise(field), note)
    except Unparsable as error:
        raise CannotParse(field) from error
    return found
