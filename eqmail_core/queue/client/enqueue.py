"""Queues the message that is being delivered, or a new one, under a new envelope.

Light: used by programs that run once per message.
Source: delivery.md 5.9.
"""

import os

from eqmail_core.mail.envelope import Envelope
from eqmail_core.outcome import DSN_VARIABLE, PermanentFailure, TemporaryFailure
from eqmail_core.queue.client.blocking import open_queue
from eqmail_core.queue.format.exit_codes import explain
from eqmail_core.system.files import CHUNK
from eqmail_core.text.error_text import error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from eqmail_core.queue.client.blocking import ProgramQueue, ServiceQueue
    from eqmail_core.site.site import Site


def forward_input(
    site: "Site", environ: "Mapping[bytes, bytes]", first: bytes, sender: bytes, recipients: list[bytes]
) -> int:
    """Queue `first` and standard input, of any size; return the qp for the log.

    The DSN parameters of the message are passed on, unless another `sender` replaces the envelope sender.

    Fails: TemporaryFailure, PermanentFailure with the text for the log.
    """
    queue = _open(site, environ)
    queue.write(first)
    try:
        while data := os.read(0, CHUNK):
            queue.write(data)
    except OSError as error:
        queue.abort()
        queue.finish(Envelope(b"", []))
        raise TemporaryFailure(b"unable to read message: " + error_text(error.errno)) from error
    dsn = environ.get(DSN_VARIABLE, b"")
    if dsn:
        # Imported here because few messages have DSN parameters.
        from eqmail_core.dsn.parameters import relayed_dsn

        dsn = relayed_dsn(dsn, len(recipients), is_same_sender=environ.get(b"SENDER") == sender)
    return enqueue(queue, Envelope(sender, recipients, dsn))


def queue_text(site: "Site", environ: "Mapping[bytes, bytes]", message: bytes, envelope: Envelope) -> int:
    """Queue a message that is in memory; return the qp for the log.

    Fails: TemporaryFailure, PermanentFailure with the text for the log.
    """
    queue = _open(site, environ)
    queue.write(message)
    return enqueue(queue, envelope)


def enqueue(queue: "ProgramQueue | ServiceQueue", envelope: Envelope) -> int:
    """Give the envelope to a queue that has the message; return the qp.

    Fails: TemporaryFailure, PermanentFailure with the text for the log.
    """
    problem = explain(queue.finish(envelope))
    if problem:
        raise (PermanentFailure if problem[:1] == b"D" else TemporaryFailure)(problem[1:])
    return queue.qp


def _open(site: "Site", environ: "Mapping[bytes, bytes]") -> "ProgramQueue | ServiceQueue":
    try:
        return open_queue(site, environ)
    except OSError as error:
        raise TemporaryFailure(b"unable to fork: " + error_text(error.errno)) from error
