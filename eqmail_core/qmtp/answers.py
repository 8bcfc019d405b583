"""The replies to QMTP and QMQP clients: an outcome letter and a text.

QMTP sends one for each recipient, QMQP one for the message.

Source: smtp-server.md 4.10, 4.11 (qmail-qmtpd.c, qmail-qmqpd.c).
"""

from eqmail_core.queue.format import exit_codes as queue_result

ACCEPTED = b""
BAD_SENDER = b"Dunacceptable sender (#5.1.7)"
TOO_BIG = b"Dsorry, that message size exceeds my databytes limit (#5.3.4)"
NO_RELAY = b"Dsorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"
BAD_RECIPIENT = b"Dsorry, I can't handle that recipient (#5.1.3)"
TOO_MANY = b"Ztoo many recipients (#4.5.3)"
BAD_ADDRESS = b"Dsorry, I can't accept addresses like that (#5.1.3)"


def message_answer(code: int, now: int, qp: int) -> bytes:
    """The reply to a message that was submitted; `code` is the exit code of qmail-queue."""
    return queue_result.explain(code) or b"Kok %d qp %d" % (now, qp)
