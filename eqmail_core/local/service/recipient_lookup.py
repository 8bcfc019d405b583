"""The look-up desk: tells the SMTP server whether a recipient can be delivered to, without delivering anything.

Root's half.  Whose a recipient is and what that user wants done with it is found by the very code that delivers: the
spawner's `Owners`, and the agent of the user, with the user's rights.  No message is here, no program is run, and no
more is told than a letter.

Bounded: so many questions are in work at a time; while they are, no more are read.  An answer is believed for a moment.

Fails: never; who asks nonsense is hung up on.
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
from eqmail_core.local.service.user_lookup import UserLookup, UserLookupAnswer
from eqmail_core.outcome import DONE, TEMPORARY
from eqmail_core.system.log import log_line

NAME = "qmail-lspawn"

MAX_CONCURRENT = 64
"""Questions in work at a time."""

MAX_LINES = 1000
"""Those who may ask, at a time: processes of the SMTP service and clients of qmail-smtpd."""

_BELIEVED_S = 2.0
_BELIEVED = 10_000


class LookupQuery:
    """One recipient that somebody wants to know about, and all who do."""

    __slots__ = ("_server", "askers", "recipient")

    def __init__(self, context: "RecipientLookupServer", recipient: bytes) -> None:
        self._server = context
        self.recipient = recipient
        self.askers: list[tuple[SelectorChannel, int]] = []

    @property
    def local(self) -> bytes:
        """The part before the last @."""
        return self.recipient.rpartition(b"@")[0]

    def report(self, outcome: bytes) -> None:
        """What a delivery would have reported."""
        self._server.answer(self, outcome)


class RecipientLookupServer:
    """Who asks, what is asked, and what has just been answered.

    `ask(question, owner)` has the agent of the owner look, and must end in `question.report`.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        listener: socket.socket,
        welcome: Set[int],
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
        self._listener = Listener(selector, listener, welcome, self._meet, NAME)

    def expire(self) -> None:
        """Forget those who have hung up."""
        self._lines = {line for line in self._lines if not line.closed}
        self._listener.tidy()

    def _meet(self, sock: socket.socket) -> None:
        """Somebody comes who may ask."""
        if len(self._lines) >= MAX_LINES:
            hang_up(sock)
            return
        line = SelectorChannel(self._selector, sock, self._take)
        self._lines.add(line)
        line.read(not self._is_full)

    def _take(self, line: SelectorChannel, packet: bytes, _fd: int) -> None:
        try:
            tag, recipient = wire.split_question(packet)
        except wire.WireError as error:
            log_line(NAME, f"warning: unintelligible question ({error}), hanging up")
            line.close()
            return
        known = self._cache.get(recipient)
        if known is not None and known[0] > time.monotonic():
            line.send(wire.answer(tag, known[1]))
            return
        question = self._asked.get(recipient)
        if question is not None:
            question.askers.append((line, tag))
            return
        question = self._asked[recipient] = LookupQuery(self, recipient)
        question.askers.append((line, tag))
        if len(self._asked) >= MAX_CONCURRENT:
            self._fill(True)
        if question.local:
            self._user_lookup.find(question.local, lambda owner: self._ask(question, owner))
        else:
            # Mail for nobody at all is thrown away.
            question.report(DONE)

    def answer(self, question: LookupQuery, outcome: bytes) -> None:
        """Tell all who asked."""
        self._asked.pop(question.recipient, None)
        if outcome != TEMPORARY:
            if len(self._cache) >= _BELIEVED:
                self._cache.clear()
            self._cache[question.recipient] = (time.monotonic() + _BELIEVED_S, outcome)
        for line, tag in question.askers:
            line.send(wire.answer(tag, outcome))
        if self._is_full and len(self._asked) < MAX_CONCURRENT:
            self._fill(False)

    def _fill(self, is_full: bool) -> None:
        """Read no more questions, or read them again."""
        self._is_full = is_full
        for line in self._lines:
            line.read(not is_full)
