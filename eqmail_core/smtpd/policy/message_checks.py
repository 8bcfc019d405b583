"""Detect messages that are too large or loop.

Source: smtp-server.md 4.5 (qmail-smtpd.c blast, put).
"""

MAX_HOPS = 100
"""A message with this many hops is looping."""

_WORDS = (b"\nreceived", b"\ndelivered")
_LONGEST = len(_WORDS[1])


class MessageChecks:
    """Checks one message in pieces of LF-terminated lines; `databytes` 0: no size limit."""

    __slots__ = ("_carry", "_databytes", "hops", "size")

    def __init__(self, databytes: int) -> None:
        self._databytes = databytes
        self.begin()

    def begin(self) -> None:
        """Start with another message."""
        # The start of an incomplete line; None: the header is over.
        self._carry: bytes | None = b"\n"
        self.hops = 0
        self.size = 0

    def receive(self, text: bytes) -> None:
        """Count a piece."""
        self.size += len(text)
        if self._carry is not None:
            self._count_hops(self._carry + text)

    @property
    def is_looping(self) -> bool:
        """Whether the message has too many hops."""
        return self.hops >= MAX_HOPS

    @property
    def is_too_big(self) -> bool:
        """Whether the message exceeds the size limit."""
        return 0 < self._databytes < self.size

    @property
    def is_refused(self) -> bool:
        """Whether the message must be refused."""
        return self.hops >= MAX_HOPS or 0 < self._databytes < self.size

    def _count_hops(self, text: bytes) -> None:
        end = text.find(b"\n\n")
        header = (text if end < 0 else text[:end]).lower()
        self.hops += header.count(_WORDS[0]) + header.count(_WORDS[1])
        if end >= 0:
            self._carry = None
            return
        line = header[header.rfind(b"\n") :] if b"\n" in header else b""
        self._carry = line if len(line) < _LONGEST and not line.startswith(_WORDS) else b""
