"""What filters are asked, and what they answer: the words between the reception and whoever carries a question.

A filter is a milter, or a check in Python.  Whoever carries the question knows which.
"""

from eqmail_core.filters.milter.replies import REJECTED, TRY_LATER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from eqmail_core.filters.message import FilteredMessage
    from eqmail_core.filters.milter.modifications import Change
    from eqmail_core.filters.transaction import TransactionInfo

    class FilterPort(Protocol):
        """A filter in one conversation; how it is asked knows whoever serves the client."""

        @property
        def stages(self) -> frozenset[str]:
            """What it is asked about."""

    class FilterPanel(Protocol):
        """The filters of one conversation, in their order: those asked before the house decides, and after it."""

        @property
        def before(self) -> Sequence[FilterPort]:
            """Who is asked first."""

        @property
        def after(self) -> Sequence[FilterPort]:
            """Who is asked about what would be accepted."""

        def new_id(self) -> bytes:
            """A name for a transaction."""


# What can be asked about; checks have methods of these names.
CONNECTED, HELLO, MAIL, RECIPIENT = "connected", "hello", "mail", "recipient"
DATA, MESSAGE = "data", "message"

CONTINUE, ACCEPT, REFUSE, DISCARD = "continue", "accept", "refuse", "discard"


class FilterQuery:
    """What a filter is asked: the stage, what is known by now, and for MESSAGE the message."""

    __slots__ = ("info", "message", "stage")

    def __init__(self, stage: str, info: "TransactionInfo", message: "FilteredMessage | None" = None) -> None:
        self.stage = stage
        self.info = info
        self.message = message


class FilterVerdict:
    """What a filter answers: a kind, and for REFUSE the reply lines.

    `headers`: fields without LF to be put before the message, `relays`: the client may send anywhere (checks only);
    `changes` of the message, `body`: there is a new one in the draft's `new_body` (milters only).
    """

    __slots__ = ("changes", "headers", "kind", "lines", "relays")

    def __init__(self, kind: str = CONTINUE, lines: "list[bytes] | None" = None) -> None:
        self.kind = kind
        self.lines = lines or []
        self.headers: list[bytes] = []
        self.relays = False
        self.changes: list[Change] = []


NO_VERDICT = FilterVerdict()


def verdict_when_unavailable(default: bytes) -> FilterVerdict:
    """What holds where a filter cannot be asked; `default` is one of `formats.filter_list.DEFAULTS`."""
    return {b"accept": NO_VERDICT, b"reject": FilterVerdict(REFUSE, [REJECTED])}.get(default) or FilterVerdict(
        REFUSE, [TRY_LATER]
    )
