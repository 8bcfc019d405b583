"""What became of messages, by the logs: those with a number, a sender or a recipient, or a Message-ID.

qmail logs no Message-ID. So one is looked for in the headers of the messages that are still in the queue.

Fails: as `logs.sources`.
"""

from collections.abc import Iterable, Iterator

from eqmail_core.queue.admin.messages import QueuedMessage, each_message
from eqmail_core.site.site import Site
from eqmail_setup.logs.events import SmtpEvent, TracedMessage
from eqmail_setup.queue.operations import header_of


def is_message_id(query: str) -> bool:
    """Whether a query is a Message-ID rather than an address: it stands in angle brackets."""
    return query.startswith("<") and query.endswith(">") and len(query) > 2


def find_messages(
    found: Iterable[TracedMessage | SmtpEvent], query: str, numbers: frozenset[int] = frozenset()
) -> Iterator[TracedMessage | SmtpEvent]:
    """Those with this number, or with this address as sender or recipient; `@domain` is for a whole domain.

    `numbers`: also these messages.
    """
    number = int(query) if query.isascii() and query.isdigit() else None
    wanted = query.encode().lower()
    for item in found:
        if isinstance(item, TracedMessage):
            addresses = {item.sender, *item.recipients()}
            if item.number == number or item.number in numbers or _has(addresses, wanted):
                yield item
        elif number is None and not numbers and _has({item.sender, item.recipient}, wanted):
            yield item


def queued_with_message_id(site: Site, message_id: str) -> frozenset[int]:
    """The numbers of the messages in the queue that have this Message-ID.  Fails: OSError."""
    wanted = message_id.encode().lower()

    def view(message: QueuedMessage) -> int | None:
        return message.number if _message_id(header_of(site.queue, message.number)) == wanted else None

    return frozenset(each_message(site.queue, None, view))


def _message_id(header: bytes) -> bytes:
    for line in header.replace(b"\n ", b" ").replace(b"\n\t", b" ").split(b"\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"message-id":
            return value.strip().lower()
    return b""


def _has(addresses: Iterable[bytes], wanted: bytes) -> bool:
    if wanted.startswith(b"@"):
        return any(address.lower().endswith(wanted) for address in addresses)
    return any(address.lower() == wanted for address in addresses)
