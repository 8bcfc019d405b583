"""The look-up server: answers whether a recipient is deliverable, without a delivery.

Its client is the SMTP server; this part runs as root.  The code that delivers also finds owner and instructions of a
recipient: `UserLookup` in the spawner, then the agent of the user with that user's rights.  No message is involved, no
program is run, and the answer is only an outcome letter.

Bounds: at most `MAX_CONCURRENT` questions are in progress; no more are read meanwhile.  Answers are cached briefly.

Fails: never; a client that sends a malformed question is disconnected.
Source: ipc/recipient_lookup_protocol.py.
"""

import selectors
import socket
import time
from collections.abc import Callable, Set

from eqmail_core.event_loop.listener import Listener
from eqmail_core.ipc import recipient_lookup_protocol as wire
from eqmail_core.ipc.packet_socket import hang_up
from eqmail_core.ipc.selector_channel import SelectorChannel
from eqmail_core.local.service.protocol import NAME
from eqmail_core.local.service.user_lookup import UserLookup, UserLookupAnswer
from eqmail_core.outcome import DONE, TEMPORARY
from eqmail_core.system.repeated_lines import say_seldom

MAX_CONCURRENT = 64
"""Maximum number of questions in progress at a time."""

MAX_LINES = 1000
"""Maximum number of connected clients: processes of the SMTP service and clients of qmail-smtpd."""

_CACHED_S = 2.0
_MAX_CACHED = 10_000


class LookupQuery:
    """One recipient to look up, and all clients that wait for the answer."""

    __slots__ = ("_server", "recipient", "waiting_clients")

    def __init__(self, context: "RecipientLookupServer", recipient: bytes) -> None:
        self._server = context
        self.recipient = recipient
        self.waiting_clients: list[tuple[SelectorChannel, int]] = []

    @property
    def local(self) -> bytes:
        """The local part: everything before the last @."""
        return self.recipient.rpartition(b"@")[0]

    def report(self, outcome: bytes) -> None:
        """Receive the outcome that a delivery would have reported."""
        self._server.answer(self, outcome)


class RecipientLookupServer:
    """The connected clients, the pending questions and the cache of recent answers.

    `ask(question, owner)` queries the agent of the owner and must end in a call of `question.report`.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        listener: socket.socket,
        allowed_uids: Set[int],
        user_lookup: UserLookup,
        ask: Callable[[LookupQuery, UserLookupAnswer], None],
    ) -> None:
        self._selector = selector
        self._user_lookup = user_lookup
        self._ask = ask
        self._lines: set[SelectorChannel] = set()
        self._asked: dict[bytes, LookupQuery] = {}
        self._cache: dict[bytes, tuple[float, bytes]] = {}
        self._is_full = False
        self._listener = Listener(selector, listener, allowed_uids, self._accept_client, NAME)

    def expire(self) -> None:
        """Drop closed connections."""
        self._lines = {line for line in self._lines if not line.closed}
        self._listener.expire()

    def _accept_client(self, sock: socket.socket) -> None:
        """Accept a client."""
        if len(self._lines) >= MAX_LINES:
            hang_up(sock)
            return
        line = SelectorChannel(self._selector, sock, self._on_question)
        self._lines.add(line)
        line.read(not self._is_full)

    def _on_question(self, line: SelectorChannel, packet: bytes, _fd: int) -> None:
        try:
            tag, recipient = wire.split_question(packet)
        except wire.LookupProtocolError as error:
            say_seldom(NAME, f"warning: unintelligible question ({error}), hanging up")
            line.close()
            return
        known = self._cache.get(recipient)
        if known is not None and known[0] > time.monotonic():
            line.send(wire.answer(tag, known[1]))
            return
        question = self._asked.get(recipient)
        if question is not None:
            question.waiting_clients.append((line, tag))
            return
        question = self._asked[recipient] = LookupQuery(self, recipient)
        question.waiting_clients.append((line, tag))
        if len(self._asked) >= MAX_CONCURRENT:
            self._set_full(True)
        if question.local:
            self._user_lookup.find(question.local, lambda owner: self._ask(question, owner))
        else:
            # Mail for an empty local part is discarded.
            question.report(DONE)

    def answer(self, question: LookupQuery, outcome: bytes) -> None:
        """Answer every client that asked."""
        self._asked.pop(question.recipient, None)
        if outcome != TEMPORARY:
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            self._cache[question.recipient] = (time.monotonic() + _CACHED_S, outcome)
        for line, tag in question.waiting_clients:
            line.send(wire.answer(tag, outcome))
        if self._is_full and len(self._asked) < MAX_CONCURRENT:
            self._set_full(False)

    def _set_full(self, is_full: bool) -> None:
        """Stop reading questions, or resume."""
        self._is_full = is_full
        for line in self._lines:
            line.read(not is_full)
