"""The light client of the submission protocol: one message per connection.

It blocks, and is quick to import.
Source: ipc/submission_protocol.py.
"""

import _socket

from eqmail_core.ipc import submission_protocol as wire
from eqmail_core.queue.format import exit_codes as q

TIMEOUT_S = 120.0
"""How long the service may take for each step; it commits in milliseconds unless it or the disk hangs."""

_SEND_BUFFER = 1 << 20


def connect(path: str) -> _socket.socket | None:
    """Return a connection to the service at `path`; None if none is running.

    Fails: OSError where one may be running that refuses the connection.
    """
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, _SEND_BUFFER)
        sock.settimeout(TIMEOUT_S)
        sock.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        return None
    return sock


class QueueSubmission:
    """A message written in pieces, then `commit`; the service drops one that is not committed.

    A message that fits a packet is sent in one, together with its envelope.
    Fails: OSError from `write` when the service is gone; `commit` returns a code.
    """

    __slots__ = ("_buffered", "_is_long", "_size", "_sock", "qp")

    def __init__(self, sock: _socket.socket) -> None:
        self._sock = sock
        self._buffered: list[bytes] = []
        self._size = 0
        self._is_long = False
        self.qp = 0

    def write(self, data: bytes) -> None:
        """Send or buffer a piece of the message."""
        self._buffered.append(data)
        self._size += len(data)
        if self._is_long or self._size > wire.MAX_WHOLE:
            self._is_long = True
            self._send_buffered()

    def commit(self, envelope: bytes) -> int:
        """Queue the message for an envelope with its final NUL; the exit code of qmail-queue.  Sets `qp`."""
        committed = False
        try:
            if not self._is_long and self._size + len(envelope) <= wire.MAX_WHOLE:
                committed = True
                self._sock.send(wire.whole(0, envelope, b"".join(self._buffered)))
            else:
                self._send_buffered()
                self._send(wire.ENVELOPE, envelope)
                committed = True
                self._sock.send(wire.tagged(wire.COMMIT, 0))
            _, code, _, _, self.qp = wire.split_result(self._sock.recv(64))
        except TimeoutError:
            code = q.TIMED_OUT
        except (OSError, wire.SubmissionProtocolError):
            code = q.CONNECTION_LOST if committed else q.SERVICE_AWAY
        return code

    def close(self) -> None:
        """Close the connection; a message that was not committed is dropped."""
        self._sock.close()

    def _send_buffered(self) -> None:
        self._send(wire.BODY, b"".join(self._buffered))
        self._buffered.clear()

    def _send(self, kind: bytes, data: bytes) -> None:
        for packet in wire.pieces(kind, 0, data):
            self._sock.send(packet)
