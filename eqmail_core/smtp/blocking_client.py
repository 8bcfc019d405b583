"""Drive one SMTP client machine over a blocking socket, in programs for one message.

Source: docs/INTERNALS.md.
"""

import select
import time

from eqmail_core.smtp.client import SmtpClient
from eqmail_core.smtp.connect import acknowledge_now, unread
from eqmail_core.smtp.exchange import CONTENT, HANDSHAKE, TRY_NEXT, WAITING

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from eqmail_core.smtp.client_tls import ClientTls

RECEIVE = 65536


def run_client(
    sock: "socket.socket",
    client: SmtpClient,
    read_piece: "Callable[[], bytes]",
    timeout_s: float,
    secure: "Callable[[], ClientTls | None] | None" = None,
) -> None:
    """Run `client` until its current message ends; `client.status` is then TRY_NEXT or DONE.

    `sock` is non-blocking.  `read_piece` returns the message piece by piece, b"" at the end, and may raise OSError.
    `timeout_s` limits the wait for each reply.  `secure` starts TLS for a client that may use it.
    Fails: never.
    """
    runner = select.poll()
    unsent = b""
    answers = -1
    deadline = 0.0
    tls: ClientTls | None = None
    while True:
        if client.status == CONTENT and not unsent:
            _supply(client, read_piece)
        if client.status == HANDSHAKE and tls is None and secure is not None:
            tls = secure()
        output = client.take_output()
        if tls is not None:
            output = tls.wrap(output)
            if client.status >= TRY_NEXT:
                output += tls.close_notify()
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
                # Replies received before the failure, such as 552, still count.
                for data in unread(sock):
                    (client if tls is None else tls).receive(data)
                client.lost()
                return
            if sent:
                unsent = unsent[sent:]
                deadline = time.monotonic() + timeout_s
        if client.status >= TRY_NEXT:
            return
        if client.status == CONTENT and not unsent:
            continue
        runner.register(sock, select.POLLIN | select.POLLOUT if unsent else select.POLLIN)
        left_s = deadline - time.monotonic()
        events = runner.poll(max(0.0, left_s) * 1000)
        # The deadline also applies while bytes are pending: an endless reply would deliver some forever.
        if left_s <= 0 or not events:
            client.lost()
        elif events[0][1] & ~select.POLLOUT:
            _receive(sock, client, tls)


def _supply(client: SmtpClient, read_piece: "Callable[[], bytes]") -> None:
    try:
        piece = read_piece()
    except OSError:
        client.fail_reading()
    else:
        client.supply(piece)


def _receive(sock: "socket.socket", client: SmtpClient, tls: "ClientTls | None") -> None:
    try:
        data = sock.recv(RECEIVE)
    except BlockingIOError:
        return
    except OSError:
        data = b""
    if data:
        (client if tls is None else tls).receive(data)
        if client.status == WAITING:
            acknowledge_now(sock)
    else:
        client.lost()
