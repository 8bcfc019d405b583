"""The envelope of a message: sender, recipients and the DSN parameters of the sender.

    rendered   F sender NUL, T recipient NUL for each, one more NUL, and with DSN parameters their list and a NUL
    records    the same without the final NUL, as the queue stores it where there are no DSN parameters

Programs write the rendered form to descriptor 1 of qmail-queue; the submission protocol carries the same.

Light.  Source: queue.md 3.3, 3.5; qmail-queue(8).
"""


class Envelope:
    """Sender and recipients; `dsn`: a list as `dsn.parameters` renders it, by index of the recipient, b"" for none."""

    __slots__ = ("dsn", "recipients", "sender")

    def __init__(self, sender: bytes, recipients: list[bytes], dsn: bytes = b"") -> None:
        self.sender = sender
        self.recipients = recipients
        self.dsn = dsn

    @classmethod
    def parse(cls, text: bytes) -> "Envelope":
        """Read a checked envelope, in either form, with or without DSN parameters."""
        records, dsn = split_dsn(text)
        sender, *recipients = records.split(b"\0")[:-1]
        return cls(sender[1:], [recipient[1:] for recipient in recipients], dsn)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Envelope):
            return NotImplemented
        return (self.sender, self.recipients, self.dsn) == (other.sender, other.recipients, other.dsn)

    __hash__ = None  # type: ignore[assignment]  # compared, never a key

    def __repr__(self) -> str:
        return f"Envelope({self.sender!r}, {self.recipients!r}, {self.dsn!r})"

    def render(self) -> bytes:
        """Render it as qmail-queue reads it."""
        end = b"\0%b\0" % self.dsn if self.dsn else b"\0"
        return b"".join((b"F", self.sender, b"\0", *[b"T%b\0" % recipient for recipient in self.recipients], end))


def split_dsn(text: bytes) -> tuple[bytes, bytes]:
    """Split an envelope into its records and the list after its final NUL, b"" for none.

    An envelope without a final NUL is returned unchanged.
    """
    end = text.find(b"\0\0")
    if end < 0:
        return text, b""
    return text[: end + 1], text[end + 2 :].partition(b"\0")[0]
