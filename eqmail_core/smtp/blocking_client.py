"""Drive one SMTP client machine over a blocking socket, in programs for one message.

Source: docs/INTERNALS.md.
"""

import select
import time

from eqmail_core.smtp.client import SmtpClient
from eqmail_core.smtp.client_transport import ClientTransport, received
from eqmail_core.smtp.exchange import CONTENT, TRY_NEXT

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from eqmail_core.smtp.client_transport import ReadPiece, Secure


def run_client(
    sock: "socket.socket",
    client: SmtpClient,
    read_piece: "ReadPiece",
    timeout_s: float,
    secure: "Secure | None" = None,
) -> None:
    """Run `client` until its current message ends; `client.status` is then TRY_NEXT or DONE.

    `sock` is non-blocking.  `read_piece` returns the message piece by piece, b"" at the end, and may raise OSError.
    `timeout_s` limits the wait for each reply.  `secure` starts TLS for a client that may use it.
    Fails: never.
    """
    transport = ClientTransport(client, read_piece, secure)
    poller = select.poll()
    unsent = b""
    answers = -1
    deadline = 0.0
    while True:
        output = transport.output(takes_content=not unsent)
        if client.status >= TRY_NEXT:
            output += transport.close_notify()
        if output or client.answers != answers:
            unsent += output
            answers = client.answers
            deadline = time.monotonic() + timeout_s
        if unsent:
            try:
                sent = sock.send(unsent)
            except BlockingIOError:
                sent = 0
            except OSError:
                transport.fail_to_send(sock)
                return
            if sent:
                unsent = unsent[sent:]
                deadline = time.monotonic() + timeout_s
        if client.status >= TRY_NEXT:
            return
        if client.status == CONTENT and not unsent:
            continue
        poller.register(sock, select.POLLIN | select.POLLOUT if unsent else select.POLLIN)
        left_s = deadline - time.monotonic()
        events = poller.poll(max(0.0, left_s) * 1000)
        # The deadline also applies while bytes are pending: an endless reply would deliver some forever.
        if left_s <= 0 or not events:
            client.lost()
        elif events[0][1] & ~select.POLLOUT:
            data = received(sock)
            if data is not None:
                transport.receive(sock, data)
