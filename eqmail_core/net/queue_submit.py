"""The light end of queue_wire: what bin/qmail-queue does when the service runs; blocking, and quick to import.

Source: queue.md 3.5 (what qmail-queue reads, in which order, and its exit codes).
"""

import _socket
import os

from eqmail_core.formats.todo import WISHES_S, read_envelope
from eqmail_core.protocols import queue_wire as wire
from eqmail_core.system.files import CHUNK, has_more
from eqmail_core.values import queue_result as q

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal

DEATH_S = 86400

_SEND_BUFFER = 1 << 20
_IGNORED = tuple(getattr(signal, "SIG" + name) for name in "PIPE HUP INT QUIT VTALRM PROF XCPU XFSZ".split())
_BUGS = (signal.SIGABRT, signal.SIGSYS)
BROKEN = 74
"""The connection broke after everything was sent."""


def guard() -> None:
    """Signals as qmail-queue has them: most are ignored, a day is the limit, and a bug has an exit code of its own."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o033)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    for number in _BUGS:
        signal.signal(number, lambda *_: os._exit(q.BUG))
    signal.signal(signal.SIGALRM, lambda *_: os._exit(q.TIMEOUT))
    signal.alarm(DEATH_S)


def connect(path: str) -> _socket.socket | None:
    """A connection to the service at `path`; None where none is running.

    Fails: OSError where one may be running that does not let us in.
    """
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, _SEND_BUFFER)
        sock.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        return None
    return sock


def submit(sock: _socket.socket, message: int, envelope: int) -> int:
    """Pass on a message and its envelope from two descriptors; the exit code of qmail-queue.

    The message is read to its end first, the envelope no further than it goes.  What is wrong with either is found
    here, and then the service forgets the message.
    """
    committed = False
    try:
        body = _read_or_pass_on(sock, message)
        code, kept = read_envelope(lambda: _read(envelope), lambda: has_more(envelope, WISHES_S))
        if code != q.OK:
            return code
        recipients = kept + b"\0"
        if body is not None and len(body) + len(recipients) <= wire.MAX_WHOLE:
            committed = True
            sock.send(wire.whole(0, recipients, body))
        else:
            _send_pieces(sock, wire.BODY, body or b"")
            _send_pieces(sock, wire.ENVELOPE, recipients)
            committed = True
            sock.send(wire.tagged(wire.COMMIT, 0))
        return wire.split_result(sock.recv(64))[1]
    except _ReadTrouble:
        return q.READ_ERROR
    except (OSError, wire.WireError):
        return BROKEN if committed else q.SERVICE_AWAY


class _ReadTrouble(Exception):
    """A descriptor of the caller's could not be read."""


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, CHUNK)
    except OSError as error:
        raise _ReadTrouble from error


def _read_or_pass_on(sock: _socket.socket, fd: int) -> bytes | None:
    """Read a message that fits a packet, or pass a longer one on and return None."""
    pieces, size = [], 0
    while piece := _read(fd):
        pieces.append(piece)
        size += len(piece)
        if size > wire.MAX_WHOLE:
            _send_pieces(sock, wire.BODY, b"".join(pieces))
            while piece := _read(fd):
                _send_pieces(sock, wire.BODY, piece)
            return None
    return b"".join(pieces)


def _send_pieces(sock: _socket.socket, kind: bytes, data: bytes) -> None:
    for start in range(0, len(data), wire.MAX_PIECE):
        sock.send(wire.tagged(kind, 0, data[start : start + wire.MAX_PIECE]))
