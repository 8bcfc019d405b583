"""QMTP and QMQP on two descriptors, with blocking reads and a blocking qmail-queue.  Light.

Source: smtp-server.md 4.10, 4.11 (qmail-qmtpd.c, qmail-qmqpd.c).
"""

import os
import select
import time

from eqmail_core.mail.dates import date822
from eqmail_core.mail.envelope import Envelope
from eqmail_core.mail.received import received
from eqmail_core.outcome import EXIT_DONE, EXIT_PERMANENT, EXIT_TEMPORARY, SUBMITTER_VARIABLE, TemporaryFailure
from eqmail_core.qmtp import answers
from eqmail_core.qmtp import protocol as qmtp
from eqmail_core.qmtp.protocol import BadFraming, NetstringTooLong, QmqpReader, QmtpReader, Reader
from eqmail_core.queue.client.blocking import open_queue
from eqmail_core.system.files import CHUNK
from eqmail_core.text.framing import netstring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eqmail_core.access.rcpthosts import RcptHosts
    from eqmail_core.site.site import Site

    Take = Callable[[qmtp.QmtpEvent, "_Message"], None]

LIFETIME_S = 3600.0
"""Longest duration of a connection, in seconds."""

MAX_ANSWERS = 100_000
"""Limit of recipients of one message; the replies are kept until all recipients have arrived."""

PIPE_BYTES = 512
"""Bytes that a writable descriptor accepts without blocking, whatever its type."""


class _ConnectionLost(Exception):
    """The client has closed the connection."""


class _TimedOut(Exception):
    """The connection has lasted too long."""


class _Message:
    """One message that is being submitted to the queue."""

    def __init__(self, site: "Site", environ: "Mapping[bytes, bytes]", protocol: bytes) -> None:
        self.queue = open_queue(site, _with_submitter(environ, protocol))
        self.queue.write(_trace(environ, protocol))
        self.size = 0
        self.sender: bytes | None = b""
        self.recipients: list[bytes] = []
        self.answers: list[bytes] = []

    def finish(self, is_refused: bool) -> bytes:
        """Queue the message unless it is refused; return the reply."""
        if is_refused:
            self.queue.abort()
        code = self.queue.finish(Envelope(self.sender or b"", self.recipients))
        return answers.message_answer(code, int(time.time()), self.queue.qp)


class QmtpServer:
    """A client on descriptors 0 and 1."""

    def __init__(self, site: "Site", environ: "Mapping[bytes, bytes]") -> None:
        self._site = site
        self._environ = environ
        self._deadline = time.monotonic() + LIFETIME_S
        self._message: _Message | None = None

    def run_qmtp(self, rcpthosts: "RcptHosts", databytes: int, limit_recipients: int = 0) -> int:
        """Receive messages until the client closes; return the exit code of the process.

        `databytes` and `limit_recipients` limit a message, 0: no limit.
        """
        reader = QmtpReader()

        def take(event: qmtp.QmtpEvent, message: _Message) -> None:
            if event.kind == qmtp.RECIPIENT:
                if len(message.answers) >= MAX_ANSWERS:
                    raise NetstringTooLong
                is_full = 0 < limit_recipients <= len(message.recipients)
                message.answers.append(
                    answers.TOO_MANY if is_full else self._check_recipient(event.value, rcpthosts, message)
                )
            elif event.kind == qmtp.END:
                self._answer_each(message, databytes)
            else:
                _receive_text(event, message, databytes)

        return self._run(reader, b"QMTP", take, once=False)

    def run_qmqp(self) -> int:
        """Receive one message; return the exit code of the process."""

        def take(event: qmtp.QmtpEvent, message: _Message) -> None:
            if event.kind == qmtp.RECIPIENT:
                message.answers.append(answers.ACCEPTED if event.value is not None else answers.BAD_ADDRESS)
                message.recipients.append(event.value or b"")
            elif event.kind == qmtp.END:
                is_bad = message.sender is None or answers.BAD_ADDRESS in message.answers
                answer = message.finish(is_bad)
                self._write(netstring(answers.BAD_ADDRESS if is_bad else answer))
            else:
                _receive_text(event, message, 0)

        return self._run(QmqpReader(), b"QMQP", take, once=True)

    def _run(self, reader: Reader, protocol: bytes, take: "Take", once: bool) -> int:
        try:
            while True:
                while (event := reader.next_event()) is not None:
                    if event.kind == qmtp.BEGIN:
                        self._message = _Message(self._site, self._environ, protocol)
                    elif self._message is not None:
                        take(event, self._message)
                    if event.kind == qmtp.END:
                        self._message = None
                        if once:
                            return EXIT_DONE
                reader.receive(self._read())
        except _ConnectionLost:
            return EXIT_DONE
        except BadFraming:
            return EXIT_PERMANENT
        except (_TimedOut, NetstringTooLong, OSError, TemporaryFailure):
            return EXIT_TEMPORARY
        finally:
            if self._message is not None:
                self._message.queue.abort()

    def _check_recipient(self, address: bytes | None, rcpthosts: "RcptHosts", message: _Message) -> bytes:
        """Add a recipient, or return the reason why not."""
        appendix = self._environ.get(b"RELAYCLIENT")
        if address is None or len(address) + len(appendix or b"") > qmtp.MAX_ADDRESS:
            return answers.BAD_RECIPIENT
        if appendix is None and not rcpthosts.accepts(address):
            return answers.NO_RELAY
        message.recipients.append(address + (appendix or b""))
        return answers.ACCEPTED

    def _answer_each(self, message: _Message, databytes: int) -> None:
        is_too_big = 0 < databytes < message.size
        answer = message.finish(message.sender is None or is_too_big or not message.recipients)
        if message.sender is None:
            answer = answers.BAD_SENDER
        if is_too_big:
            answer = answers.TOO_BIG
        self._write(b"".join([netstring(each or answer) for each in message.answers]))

    def _write(self, data: bytes) -> None:
        """Send a reply; the time limit of the connection also ends a client that does not read."""
        view = memoryview(data)
        while view:
            self._wait(1, select.POLLOUT)
            view = view[os.write(1, view[:PIPE_BYTES]) :]

    def _wait(self, fd: int, what: int) -> None:
        poller = select.poll()
        poller.register(fd, what)
        if not poller.poll(max(0.0, self._deadline - time.monotonic()) * 1000):
            raise _TimedOut

    def _read(self) -> bytes:
        self._wait(0, select.POLLIN)
        data = os.read(0, CHUNK)
        if not data:
            raise _ConnectionLost
        return data


def _receive_text(event: qmtp.QmtpEvent, message: _Message, databytes: int) -> None:
    if event.kind == qmtp.SENDER:
        message.sender = event.value
    elif event.value is not None:
        message.size += len(event.value)
        if databytes and message.size > databytes:
            message.queue.abort()
        else:
            message.queue.write(event.value)


def _with_submitter(environ: "Mapping[bytes, bytes]", protocol: bytes) -> "Mapping[bytes, bytes]":
    """Return the environment for the queue, which says who a client is that may relay; every client of QMQP may."""
    if b"RELAYCLIENT" not in environ and protocol != b"QMQP":
        return {**environ, SUBMITTER_VARIABLE: b""}
    # Imported here: most clients of QMTP may not relay.
    from eqmail_core.dsn.submitter import submitter_words

    return {**environ, SUBMITTER_VARIABLE: submitter_words(None, environ.get(b"TCPREMOTEIP", b""))}


def _trace(environ: "Mapping[bytes, bytes]", protocol: bytes) -> bytes:
    return received(
        environ.get(b"TCPREMOTEHOST", b"unknown"),
        environ.get(b"TCPREMOTEIP", b"unknown"),
        environ.get(b"TCPREMOTEINFO"),
        None,
        environ.get(b"TCPLOCALHOST") or environ.get(b"TCPLOCALIP", b"unknown"),
        protocol,
        date822(time.time()),
    )
