"""A report as a message: a few words for people, and the report as an attachment.

Fails: never.
Source: RFC 9990 sections 3.5 and 4.1; RFC 8460 section 5.3 (the same form).
"""

from email.message import EmailMessage
from email.policy import SMTP
from typing import NamedTuple

from eqmail_core.mail.dates import date822


class Attachment(NamedTuple):
    """A file: its name, its type such as application/gzip, and its bytes."""

    name: str
    kind: str
    content: bytes


class ReportLetter(NamedTuple):
    """A report to be mailed: `fields` are further fields of the header, `words` is the text for people."""

    sender: str
    recipient: str
    subject: str
    message_id: str
    words: str
    attachment: Attachment
    fields: tuple[tuple[str, str], ...] = ()


def render_letter(letter: ReportLetter, now: int) -> bytes:
    """Return the message with LF line ends.  `now`: seconds since the epoch."""
    message = EmailMessage(policy=SMTP.clone(linesep="\n", max_line_length=998))
    message["From"] = letter.sender
    message["To"] = letter.recipient
    message["Subject"] = letter.subject
    message["Date"] = date822(now).decode().strip()
    message["Message-ID"] = f"<{letter.message_id}>"
    message["Auto-Submitted"] = "auto-generated"
    for name, value in letter.fields:
        message[name] = value
    message.set_content(letter.words)
    kind, _, subkind = letter.attachment.kind.partition("/")
    message.add_attachment(letter.attachment.content, kind, subkind, filename=letter.attachment.name)
    return message.as_bytes()
