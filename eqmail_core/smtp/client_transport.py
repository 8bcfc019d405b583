"""A client machine between message and socket: what the blocking driver and that of the event loop share.

It moves bytes between machine, TLS and socket; when that happens, and how long it may take, is the driver's.

Fails: never; a broken connection is part of the machine's report.
"""

from eqmail_core.smtp.client import SmtpClient
from eqmail_core.smtp.connect import acknowledge_now, unread
from eqmail_core.smtp.exchange import CONTENT, HANDSHAKE, WAITING

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from eqmail_core.smtp.client_tls import ClientTls

    ReadPiece = Callable[[], bytes]
    Secure = Callable[[], ClientTls | None]
    MayEnd = Callable[[], bool]

RECEIVE = 65536


class ClientTransport:
    """One machine, and TLS once `secure` has started it.

    `read_piece` returns the message piece by piece, b"" at the end, and may raise OSError.  `may_end` is asked before
    the end of the message is sent, after which the server has it.
    """

    __slots__ = ("_secure", "_tls", "client", "may_end", "read_piece")

    def __init__(self, client: SmtpClient, read_piece: "ReadPiece" = bytes, secure: "Secure | None" = None) -> None:
        self.client = client
        self.read_piece = read_piece
        self.may_end: MayEnd = _always
        self._secure = secure
        self._tls: ClientTls | None = None

    def output(self, takes_content: bool) -> bytes:
        """Return what to send now; `takes_content`: nothing is unsent, so the message may be read on."""
        client = self.client
        if takes_content and client.status == CONTENT:
            self._supply()
        if client.status == HANDSHAKE and self._tls is None and self._secure is not None:
            self._tls = self._secure()
        output = client.take_output()
        return output if self._tls is None else self._tls.wrap(output)

    def wrap(self, output: bytes) -> bytes:
        """Return bytes that are not the machine's as they have to be sent."""
        return output if self._tls is None else self._tls.wrap(output)

    def close_notify(self) -> bytes:
        """Return the bytes that end TLS; b"" without."""
        return b"" if self._tls is None else self._tls.close_notify()

    def receive(self, sock: "socket.socket", data: bytes) -> None:
        """Process bytes from the server; b"" is its end."""
        if not data:
            self.client.lost()
            return
        (self.client if self._tls is None else self._tls).receive(data)
        if self.client.status == WAITING:
            acknowledge_now(sock)

    def fail_to_send(self, sock: "socket.socket") -> None:
        """End a connection that takes no more; replies received before that, such as 552, still count."""
        for data in unread(sock):
            (self.client if self._tls is None else self._tls).receive(data)
        self.client.lost()

    def _supply(self) -> None:
        try:
            piece = self.read_piece()
        except OSError:
            self.client.fail_reading()
        else:
            if piece or self.may_end():
                self.client.supply(piece)
            else:
                self.client.withhold()


def _always() -> bool:
    return True


def received(sock: "socket.socket") -> bytes | None:
    """Return what a non-blocking socket has: None for nothing, b"" where the connection has ended."""
    try:
        return sock.recv(RECEIVE)
    except BlockingIOError:
        return None
    except OSError:
        return b""
