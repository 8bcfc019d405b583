"""The outcome of a message received by SMTP: the last reply, and the log line.

Source: smtp-server.md 4.2 (log lines), 4.5 (order of the replies).
"""

from eqmail_core.queue.format import exit_codes as queue_result
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.text.sanitize import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.smtpd.policy.message_checks import MessageChecks

READ_FAILED = b"read failed"
TIMED_OUT = b"timeout"
NO_CONTROLS = b"unable to read controls"
BAD_NEWLINES = b"bad newlines"
DENIED = b"denied by a rule"
ACCEPTED = b"message accepted"
NO_PROXY_HEADER = b"no header of the PROXY protocol"

FINAL_REPLIES = {
    reply.TOO_MANY_ERRORS: b"too many errors",
    reply.TOO_MANY_COMMANDS: b"too many commands",
    reply.BUSY: b"too many connections of all",
    reply.BUSY_WITH_YOU: b"too many connections",
    reply.TALKED_EARLY: b"talked before the greeting",
    reply.BYTES_BEHIND_STARTTLS: b"words behind STARTTLS",
    reply.BAD_CHUNK: b"bad chunk",
}
"""The log text for clients that were refused, by the last reply to them."""


def left_out(number: int) -> bytes:
    """Return the log line about suppressed lines of one address."""
    return b"qmail-smtpd: %d lines about clients with very many were left out\n" % number


def log_line(what: bytes, sender: bytes | None, ip: bytes, recipient: bytes | None, helo: bytes | None) -> bytes:
    """Build one log line, with its newline, for any event of a session."""
    unset = b"(null)"
    text = b"qmail-smtpd: %b: %b from %b to %b helo %b" % (
        what,
        unset if sender is None else sender,
        ip,
        unset if recipient is None else recipient,
        unset if helo is None else helo,
    )
    return plain(text) + b"\n"


def tls_failed(reason: Exception) -> bytes:
    """Return the log text for a failed handshake."""
    return b"TLS connection failed (%b)" % str(reason).encode("utf-8", "replace")


def conclude(checks: "MessageChecks", code: int, now: int, qp: int) -> tuple[bytes, bytes]:
    """Return the reply to a complete message and the log text.

    `code` is the exit code of qmail-queue.
    """
    text = queue_result.explain(code)
    if not text and not checks.is_refused:
        return reply.queued(now, qp), ACCEPTED
    if checks.is_looping:
        return reply.LOOPING, b"message looping"
    if checks.is_too_big:
        return reply.TOO_BIG, b"message too big"
    if checks.is_forged:
        return reply.NOT_YOUR_FROM, b"message rejected (From is not allowed for this login)"
    what = b"message rejected (%b)" if text[:1] == b"D" else b"message delayed (%b)"
    return reply.not_queued(text), what % text[1:]
