"""Who gets the news that a message failed, and as what.

Source: queue.md 3.10 (qmail-send.c injectbounce).
"""

from eqmail_core.formats.bounce import bounce_break, bounce_head
from eqmail_core.values.address import DOUBLE_BOUNCE, NULL_SENDER, bounce_recipient

TOO_LONG = b"I'm not going to try again; this message has been in the queue too long.\n"
"""What is added to a temporary failure that has become permanent by age."""


class Postmaster:
    """Whose name stands on bounces, and who gets bounces of bounces."""

    __slots__ = ("box", "double_to", "host")

    def __init__(self, box: bytes, host: bytes, double_to: bytes) -> None:
        self.box = box
        self.host = host
        self.double_to = double_to


class Bounce:
    """One bounce: envelope, and what stands before and behind the failure blocks.

    The message is `head`, the blocks, `middle`, the original message.
    """

    __slots__ = ("head", "middle", "recipient", "sender")

    def __init__(self, sender: bytes, recipient: bytes, head: bytes, middle: bytes) -> None:
        self.sender = sender
        self.recipient = recipient
        self.head = head
        self.middle = middle


def compose(original_sender: bytes, postmaster: Postmaster, date: bytes) -> Bounce | None:
    """The bounce for a failed message; None for a failed double bounce, which nobody gets.

    A failed bounce goes to the postmaster as a double bounce, any other failure to the sender.
    """
    if original_sender == DOUBLE_BOUNCE:
        return None
    sender = bounce_recipient(original_sender)
    is_double = not sender
    recipient = postmaster.double_to if is_double else sender
    return Bounce(
        DOUBLE_BOUNCE if is_double else NULL_SENDER,
        recipient,
        bounce_head(date, postmaster.box, postmaster.host, recipient, is_double),
        bounce_break(sender, is_double),
    )
