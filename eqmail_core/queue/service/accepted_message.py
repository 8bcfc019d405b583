"""A message that the queue service has accepted or is accepting."""

from eqmail_core.mail.message_identity import MessageIdentity
from eqmail_core.queue.format.todo import render_todo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.queue.service.journal_segment import Segment

COMMITTING, LIVE, WRITING, SPILLING, AS_FILE, REMOVING = range(6)
"""States of a message in the journal; `message_store` explains them."""

UNDECIDED, GOES_BACK, STAYS, VANISHES = range(4)
"""What becomes of the number at the end: back to the pool, kept with the files, or freed by removing mess/N."""


class AcceptedMessage:
    """One accepted message, or one that is being accepted.

    `body`: content of mess/N, None if it is in the file of number N already; `size`: its bytes; `crc`: its checksum
    (only of a body in a file). `envelope`: without its final NUL. `weight`: bytes in memory.
    `segment` is set by the journal; `state`, `number_fate` and `scheduler` by the message store.
    """

    __slots__ = (
        "birth",
        "body",
        "crc",
        "envelope",
        "number",
        "number_fate",
        "qp",
        "scheduler",
        "segment",
        "serial",
        "size",
        "state",
        "uid",
        "weight",
    )

    def __init__(
        self, number: int, birth: int, uid: int, qp: int, envelope: bytes, body: bytes | None, size: int, crc: int = 0
    ) -> None:
        self.serial = 0
        self.number = number
        self.birth = birth
        self.uid = uid
        self.qp = qp
        self.envelope = envelope
        self.body = body
        self.size = size
        self.crc = crc
        self.weight = len(envelope) + (len(body) if body is not None else 0)
        self.segment: Segment | None = None
        self.state = 0
        self.number_fate = 0
        self.scheduler: object = None

    def as_todo(self) -> bytes:
        """Return the content of todo/N."""
        born = MessageIdentity.accepted(self.number, self.birth, self.serial).born_text() if self.serial else b""
        return render_todo(self.uid, self.qp, self.envelope, born)
