"""What a message must not be: too long, or on a journey without end.

Source: smtp-server.md 4.5 (qmail-smtpd.c blast, put).
"""

MAX_HOPS = 100
"""A message that has passed through as many places is looping."""

_WORDS = (b"\nreceived", b"\ndelivered")
_LONGEST = len(_WORDS[1])


class MessageChecks:
    """Watches one message pass in pieces of LF-terminated lines; `databytes` 0: any size is welcome."""

    __slots__ = ("_carry", "_databytes", "hops", "size")

    def __init__(self, databytes: int) -> None:
        self._databytes = databytes
        self.begin()

    def begin(self) -> None:
        """Watch another message from its beginning."""
        # The beginning of a line whose end has not been seen; None: the header is over.
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
        """Whether it has passed through too many places."""
        return self.hops >= MAX_HOPS

    @property
    def is_too_big(self) -> bool:
        """Whether it is longer than allowed."""
        return 0 < self._databytes < self.size

    @property
    def is_refused(self) -> bool:
        """Whether it may not be queued."""
        return self.is_looping or self.is_too_big

    def _count_hops(self, text: bytes) -> None:
        end = text.find(b"\n\n")
        header = (text if end < 0 else text[:end]).lower()
        self.hops += header.count(_WORDS[0]) + header.count(_WORDS[1])
        if end >= 0:
            self._carry = None
            return
        line = header[header.rfind(b"\n") :] if b"\n" in header else b""
        self._carry = line if len(line) < _LONGEST and not line.startswith(_WORDS) else b""
