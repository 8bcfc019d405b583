"""Detect messages that are too large, loop, or have an author that is not allowed.

Source: smtp-server.md 4.5 (qmail-smtpd.c blast, put).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_HOPS = 100
"""A message with this many hops is looping."""

MAX_HEADER = 1 << 20
"""Longest header that is collected, in bytes."""

_WORDS = (b"\nreceived", b"\ndelivered")
_LONGEST = len(_WORDS[1])


class MessageChecks:
    """Checks one message in pieces of LF-terminated lines; `databytes` 0: no size limit.

    `is_allowed(header)`: whether its authors are allowed.
    """

    __slots__ = ("_carry", "_databytes", "_header", "_is_allowed", "hops", "is_forged", "size")

    def __init__(self, databytes: int, is_allowed: "Callable[[bytes], bool] | None" = None) -> None:
        self._databytes = databytes
        self._is_allowed = is_allowed
        self.begin()

    def begin(self) -> None:
        """Start with another message."""
        # The start of an incomplete line; None: the header is over.
        self._carry: bytes | None = b"\n"
        self.hops = 0
        self.size = 0
        self.is_forged = False
        # The header until its end has come; None: it is not examined, or was.
        self._header = bytearray(b"\n") if self._is_allowed is not None else None

    def receive(self, text: bytes) -> None:
        """Count a piece."""
        self.size += len(text)
        if self._carry is not None:
            self._count_hops(self._carry + text)
        if self._header is not None:
            self._collect_header(text)

    def end(self) -> None:
        """Note that the message is complete: one without a body has only a header."""
        if self._header is not None:
            self._examine_header(len(self._header))

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
        return self.hops >= MAX_HOPS or 0 < self._databytes < self.size or self.is_forged

    def _collect_header(self, text: bytes) -> None:
        header = self._header
        assert header is not None
        start = max(0, len(header) - 1)
        header += text
        end = header.find(b"\n\n", start)
        if end >= 0 or len(header) > MAX_HEADER:
            self._examine_header(len(header) if end < 0 else end)

    def _examine_header(self, end: int) -> None:
        header, self._header = self._header, None
        if header is not None and self._is_allowed is not None:
            self.is_forged = not self._is_allowed(bytes(header[1:end]))

    def _count_hops(self, text: bytes) -> None:
        end = text.find(b"\n\n")
        header = (text if end < 0 else text[:end]).lower()
        self.hops += header.count(_WORDS[0]) + header.count(_WORDS[1])
        if end >= 0:
            self._carry = None
            return
        line = header[header.rfind(b"\n") :] if b"\n" in header else b""
        self._carry = line if len(line) < _LONGEST and not line.startswith(_WORDS) else b""
