"""Queries to filters and their verdicts: the interface of policy and session driver.

A filter is a milter, or a check in Python; only the driver that runs a query knows which.
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
        """A filter in one session; its coroutines suspend in a service and block in a program."""

        @property
        def stages(self) -> frozenset[str]:
            """The stages at which it is queried."""

        async def ask(self, question: "FilterQuery") -> "FilterVerdict":
            """Query it; never fails."""

    class FilterPanel(Protocol):
        """The filters of one session in order: before the server's own decision, and after it."""

        @property
        def before(self) -> Sequence[FilterPort]:
            """The filters queried first."""

        @property
        def after(self) -> Sequence[FilterPort]:
            """The filters queried about what would be accepted."""

        def new_id(self) -> bytes:
            """Return a new transaction id."""


# The stages; checks have methods of these names.
CONNECTED, HELLO, MAIL, RECIPIENT = "connected", "hello", "mail", "recipient"
DATA, MESSAGE = "data", "message"

CONTINUE, ACCEPT, REFUSE, DISCARD = "continue", "accept", "refuse", "discard"


class FilterQuery:
    """A query to a filter: the stage, the state of the session, and for MESSAGE the message."""

    __slots__ = ("info", "message", "stage")

    def __init__(self, stage: str, info: "TransactionInfo", message: "FilteredMessage | None" = None) -> None:
        self.stage = stage
        self.info = info
        self.message = message


class FilterVerdict:
    """The verdict of a filter: a kind, and for REFUSE the reply lines.

    `headers`: fields without LF to prepend to the message; `relays`: the client may relay (checks only);
    `changes`: modifications of the message (milters only).
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
    """Return the verdict of an unavailable filter; `default` is one of `filter_entries.DEFAULTS`."""
    return {b"accept": NO_VERDICT, b"reject": FilterVerdict(REFUSE, [REJECTED])}.get(default) or FilterVerdict(
        REFUSE, [TRY_LATER]
    )
