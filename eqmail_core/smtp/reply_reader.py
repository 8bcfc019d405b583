"""Parse replies of an SMTP server from bytes in any fragmentation; memory is bounded.

A reply is lines CODE-TEXT and a last line CODE TEXT; the code of the first line counts.  The first 5000 bytes of
its text are kept, for people; excess bytes of a single line are skipped.

Fails: never; a reply that does not begin with three digits has the code GARBLED.
Source: RFC 5321 section 4.2; delivery.md 5.6 (reply text).
"""

MAX_TEXT = 5000
"""Maximum number of bytes kept of one reply."""

MAX_LINE = 8192
"""Maximum number of bytes parsed of one line."""

MAX_WAITING = 1024
"""Maximum number of pending replies.

Further input of a server that sends unrequested replies is ignored.
"""

GARBLED = 499
"""Code for a reply without a valid code: a temporary error."""


class Reply:
    """One complete reply: its code, and its text with LF line ends, without CR, code included."""

    __slots__ = ("code", "text")

    def __init__(self, code: int, text: bytes) -> None:
        self.code = code
        self.text = text

    @property
    def is_positive(self) -> bool:
        """Whether the code is positive: 2yz."""
        return 200 <= self.code < 300

    @property
    def is_refusal(self) -> bool:
        """Whether the code is negative: 4yz or 5yz.

        A reply that is neither positive nor negative is out of step with the commands.
        """
        return 400 <= self.code < 600 and self.code != GARBLED

    @property
    def is_permanent(self) -> bool:
        """Whether the code is a permanent refusal: 5yz."""
        return 500 <= self.code < 600

    def lines(self) -> list[bytes]:
        """Return the text of each line, without the code."""
        return [line[4:] for line in self.text.split(b"\n") if line]


class ReplyReader:
    """Splits a byte stream into replies."""

    __slots__ = ("_code", "_partial", "_ready", "_text")

    def __init__(self) -> None:
        self._partial = b""
        self._ready: list[Reply] = []
        self._code = -1
        self._text = b""

    def receive(self, data: bytes) -> None:
        """Add bytes in any fragmentation."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._line(line)
        # The start of a long line decides.  Its CRs are kept here, so that the cut is the same in any fragmentation.
        self._partial = self._partial[:MAX_LINE]

    def next_reply(self) -> Reply | None:
        """Return the next complete reply, or None if there is none yet."""
        return self._ready.pop(0) if self._ready else None

    @property
    def is_clean(self) -> bool:
        """Whether no unprocessed input of the server remains."""
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
