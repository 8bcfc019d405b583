"""Replies of an SMTP server, taken from bytes in any fragmentation; memory is bounded for any input.

A reply is lines CODE-TEXT and a last line CODE TEXT.  The code of its first line counts.  Of its text, for people, the
first 5000 bytes are kept; of a single line, what goes beyond them is skipped.

Fails: never; a reply that does not begin with three digits has the code GARBLED.
Source: RFC 5321 section 4.2; delivery.md 5.6 (reply text).
"""

MAX_TEXT = 5000
"""Bytes of a reply that are kept."""

MAX_LINE = 8192
"""Bytes of one line that are looked at."""

MAX_WAITING = 1024
"""Replies that wait to be taken; a server that says more than it was asked is not listened to."""

GARBLED = 499
"""Stands for a code that is none: trouble that may pass."""


class Reply:
    """One complete reply: its code, and its text with LF line ends, without CR, code included."""

    __slots__ = ("code", "text")

    def __init__(self, code: int, text: bytes) -> None:
        self.code = code
        self.text = text

    @property
    def is_positive(self) -> bool:
        """Whether it is a yes: 2yz."""
        return 200 <= self.code < 300

    @property
    def is_refusal(self) -> bool:
        """Whether it is a no: 4yz or 5yz.  What is neither yes nor no is out of step with what was asked."""
        return 400 <= self.code < 600 and self.code != GARBLED

    @property
    def is_permanent(self) -> bool:
        """Whether it is a no for good: 5yz."""
        return 500 <= self.code < 600

    def lines(self) -> list[bytes]:
        """The text of each line, without code."""
        return [line[4:] for line in self.text.split(b"\n") if line]


class ReplyReader:
    """Cuts a stream of bytes into replies."""

    __slots__ = ("_code", "_partial", "_ready", "_text")

    def __init__(self) -> None:
        self._partial = b""
        self._ready: list[Reply] = []
        self._code = -1
        self._text = b""

    def receive(self, data: bytes) -> None:
        """Take bytes as they came."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._line(line)
        # The beginning of a long line decides; its CRs are kept here, so that the cut is the same in any fragmentation.
        self._partial = self._partial[:MAX_LINE]

    def next_reply(self) -> Reply | None:
        """The next complete reply, None while there is none."""
        return self._ready.pop(0) if self._ready else None

    @property
    def is_clean(self) -> bool:
        """Whether the server has said nothing that was not taken."""
        return not (self._partial or self._ready or self._code >= 0)

    def _line(self, line: bytes) -> None:
        line = line[:MAX_LINE].replace(b"\r", b"")
        if self._code < 0:
            self._code = int(line[:3]) if len(line) >= 3 and line[:3].isdigit() else GARBLED
            self._text = b""
        if len(self._text) < MAX_TEXT:
            self._text = (self._text + line + b"\n")[:MAX_TEXT]
        if line[3:4] != b"-" or self._code == GARBLED:
            if len(self._ready) < MAX_WAITING:
                self._ready.append(Reply(self._code, self._text))
            self._code = -1
