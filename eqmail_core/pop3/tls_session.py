"""POP3 after STLS: a process without privileges speaks TLS, and relays the session of the user to the client.

The process with privileges runs the password checker. Of the client's bytes it sees the credentials only, which come
as a packet; the answer is a packet too.

Fails: TlsUnavailable, before anything is sent.
Source: RFC 2595 section 4.
"""

import os
import socket
from select import POLLHUP, POLLIN, POLLOUT, poll

from eqmail_core.auth.credentials import Credentials
from eqmail_core.pop3.protocol import PASS, Pop3Machine, refusal
from eqmail_core.system.files import CHUNK
from eqmail_core.system.timed_stream import ConnectionLost, TimedOut, TimedStream
from eqmail_core.text.framing import fields, join
from eqmail_core.tls.session_info import ServerTlsFiles, TlsHandshakeError
from eqmail_core.tls.timed_stream import TlsTimedStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Converse = Callable[[TimedStream, Pop3Machine], Credentials | None]
    Check = Callable[[Credentials, int], bytes | None]

_MAX_PACKET = 4096
_MAX_WAITING = 65536
"""Bytes of the client that its session has not taken yet; beyond them the client is not read."""

_CLIENT = 0
_ACCEPTED, _REFUSED = b"a", b"r"


class TlsLogin:
    """What both processes need for a login under TLS.

    `files`: the key files, which need not be readable afterwards. `become_unprivileged` ends the privileges of the
    process that speaks with the client.
    """

    def __init__(
        self,
        files: ServerTlsFiles,
        become_unprivileged: "Callable[[], None]",
        write_log: "Callable[[bytes], None]",
        timeout_s: int,
    ) -> None:
        self._files = files
        self._become_unprivileged = become_unprivileged
        self._write_log = write_log
        self._timeout_s = timeout_s

    def prepare(self, plain: TimedStream) -> TlsTimedStream:
        """Make a stream of a client's connection, before the handshake.  Fails: TlsUnavailable."""
        return TlsTimedStream(plain, self._files, self._write_log)

    def serve(self, stream: TlsTimedStream, machine: Pop3Machine, converse: "Converse", check: "Check") -> None:
        """Serve the client to the end of its session.

        `converse` finds the credentials; `check(credentials, descriptor)` runs the session of their user on the
        descriptor to its end, or returns the reason of the refusal.
        """
        requests, answers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours, session = socket.socketpair()
        pid = os.fork()
        if not pid:
            requests.close()
            session.close()
            self._speak(stream, machine, converse, answers, ours)
        answers.close()
        ours.close()
        packet = requests.recv(_MAX_PACKET)
        if packet:
            user, password, challenge = fields(packet)
            problem = check(Credentials(PASS, user, password, challenge), session.fileno())
            session.close()
            try:
                requests.send(_ACCEPTED if problem is None else _REFUSED + problem)
            except OSError:
                pass  # the client is gone
        session.close()
        os.waitpid(pid, 0)

    def _speak(
        self,
        stream: TlsTimedStream,
        machine: Pop3Machine,
        converse: "Converse",
        answers: socket.socket,
        session: socket.socket,
    ) -> None:
        """The process without privileges; never returns."""
        try:
            self._become_unprivileged()
            stream.shake()
            found = converse(stream, machine)
            if found is not None:
                answers.send(join(found.user, found.password, found.challenge))
                _relay(stream, session, machine.take_rest(), self._timeout_s)
                answer = answers.recv(_MAX_PACKET)
                if answer[:1] == _REFUSED:
                    stream.write(refusal(answer[1:]))
            stream.close()
        except (TimedOut, ConnectionLost, TlsHandshakeError, OSError):
            pass
        except Exception as error:
            self._write_log(b"unexpected: " + repr(error).encode())
        finally:
            os._exit(0)


def _relay(stream: TlsTimedStream, session: socket.socket, waiting: bytes, timeout_s: int) -> None:
    """Copy both ways until the session ends.  Fails: TimedOut, ConnectionLost, OSError."""
    session.setblocking(False)
    reads_client = True
    while True:
        poller = poll()
        poller.register(session, POLLIN | (POLLOUT if waiting else 0))
        if reads_client and len(waiting) < _MAX_WAITING:
            poller.register(_CLIENT, POLLIN)
        events = dict(poller.poll(timeout_s * 1000))
        if not events:
            return
        if _CLIENT in events:
            try:
                waiting += stream.read()
            except ConnectionLost:
                reads_client = False
        ready = events.get(session.fileno(), 0)
        if waiting and ready & POLLOUT:
            try:
                waiting = waiting[session.send(waiting) :]
            except OSError:
                waiting, reads_client = b"", False  # the session has ended; what it said is still to be read
        if not reads_client and not waiting:
            session.shutdown(socket.SHUT_WR)
        if ready & (POLLIN | POLLHUP):
            data = session.recv(CHUNK)
            if not data:
                return
            stream.write(data)
