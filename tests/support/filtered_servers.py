"""Conversations with both drivers of the SMTP server, line by line, for the tests of filters."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.smtp_servers import Home, Resident, blocking_server

KINDS = ("resident", "program")
MESSAGE = b"From: joe@a.test\r\nSubject:  two\r\n words\r\n\r\nbody\r\n..dot\r\n"
QUEUED = b"From: joe@a.test\nSubject:  two\n words\n\nbody\n.dot\n"


class SmtpConversation:
    """A client; `say` gives the answer, `lines` of it joined by LF."""

    def __init__(self, sock: socket.socket, server: Resident | None, home: Home) -> None:
        self.sock = sock
        self.server = server
        self._home = home
        self._stream = sock.makefile("rb")
        self.greeting = self.read_reply()

    def read_reply(self) -> bytes:
        """An answer without its CRLFs; b"" when the server has closed."""
        lines = []
        while line := self._stream.readline():
            lines.append(line.rstrip(b"\r\n"))
            if line[3:4] != b"-":
                break
        return b"\n".join(lines)

    def command(self, line: bytes) -> bytes:
        """Send a line and read the reply."""
        self.sock.sendall(line + b"\r\n")
        return self.read_reply()

    def close(self) -> None:
        """Go away without a word; the server sees it at once."""
        self._stream.close()
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the server has closed it

    def send(self, *recipients: bytes, message: bytes = MESSAGE) -> bytes:
        """A whole transaction that is accepted up to the message; the answer to that."""
        assert self.command(b"MAIL FROM:<joe@a.test>").startswith(b"250")
        for recipient in recipients or (b"j@ours.test",):
            assert self.command(b"RCPT TO:<%b>" % recipient).startswith(b"250")
        assert self.command(b"DATA").startswith(b"354")
        return self.command(message + b".")

    def queued(self) -> list[tuple[bytes, bytes]]:
        """Envelopes and messages that went to the queue; of the messages what follows our Received line."""
        found = self._home.queued() if self.server is None else self.server.queued()
        return [(envelope, _behind_received(message)) for envelope, message in found]


def _behind_received(message: bytes) -> bytes:
    assert message.startswith(b"Received: from ")
    lines = message.split(b"\n")
    first = next(number for number, line in enumerate(lines) if number and line[:1] not in b" \t")
    return b"\n".join(lines[first:])


@contextmanager
def open_conversation(kind: str, home: Home, **environ: str) -> Iterator[SmtpConversation]:
    """A client of a server of this kind, before its first command."""
    if kind == "resident":
        with Resident(home, **environ) as server, server.connect() as sock:
            yield from _closing(SmtpConversation(sock, server, home))
    else:
        with blocking_server(home, **environ) as (sock, _):
            yield from _closing(SmtpConversation(sock, None, home))


def _closing(client: SmtpConversation) -> Iterator[SmtpConversation]:
    try:
        yield client
    finally:
        client.close()
