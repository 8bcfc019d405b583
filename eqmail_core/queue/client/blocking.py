"""Queues a message for every blocking program: through the service, or through a child process.

The program is qmail-queue, or what QMAILQUEUE names. If it is qmail-queue as setup wrote it, and the service answers,
the message goes to the service directly: that saves a process and the start of an interpreter per message. The resident
services use the submission protocol themselves when QMAILQUEUE is not set.

Source: queue.md 3.5 "caller library contract".
"""

import os
from itertools import chain

from eqmail_core.outcome import SUBMITTER_VARIABLE
from eqmail_core.queue.client.submission import QueueSubmission, connect
from eqmail_core.queue.format import exit_codes as q
from eqmail_core.system.files import close_all, left_in, open_pipes, write_all
from eqmail_core.system.installation import is_own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from eqmail_core.mail.envelope import Envelope
    from eqmail_core.site.site import Site


def open_queue(site: "Site", environ: "Mapping[bytes, bytes]") -> "ServiceQueue | ProgramQueue":
    """Return a queue for one message.

    `write` it in pieces, then `finish` with the envelope; `qp` is then set.
    Fails: OSError when no child can be started; never while writing (the code of `finish` reports it).
    """
    program = environ.get(b"QMAILQUEUE", os.fsencode(f"{site.bin}/qmail-queue"))
    try:
        sock = connect(site.socket("queue")) if is_own(program, os.fsencode(site.home), b"qmail-queue") else None
    except OSError:
        sock = None
    if sock is not None:
        return ServiceQueue(QueueSubmission(sock), environ.get(SUBMITTER_VARIABLE, b""))
    return ProgramQueue(program, site, environ)


class ServiceQueue:
    """One message sent to the service; `submitter`: words about its client, as in dsn/submitter.py."""

    def __init__(self, submission: QueueSubmission, submitter: bytes = b"") -> None:
        self._submission = submission
        self._submitter = submitter
        self._code = q.OK

    @property
    def qp(self) -> int:
        """The pid of this process, as the service logs it."""
        return self._submission.qp

    def write(self, data: bytes) -> None:
        """Pass on a piece of the message; the first failure is remembered."""
        if self._code == q.OK:
            try:
                self._submission.write(data)
            except OSError:
                self._code = q.SERVICE_AWAY

    def abort(self) -> None:
        """Disconnect: nothing is queued."""
        self._code = q.READ_ERROR

    def finish(self, envelope: "Envelope") -> int:
        """Send the envelope and wait; as `ProgramQueue.finish`."""
        if self._code == q.OK:
            if self._submitter:
                # Imported here: few programs serve clients.
                from eqmail_core.dsn.submitter import with_submitter

                envelope.dsn = with_submitter(envelope.dsn, self._submitter)
            self._code = self._submission.commit(envelope.render())
        self._submission.close()
        return self._code


class ProgramQueue:
    """One message sent through a child process, whose pid is the qp."""

    def __init__(self, program: bytes, site: "Site", environ: "Mapping[bytes, bytes]") -> None:
        (message_out, self._message), (envelope_out, self._envelope), (self._text, text) = pipes = open_pipes(3)
        self._broken = False
        try:
            self.qp = os.fork()
        except OSError:
            close_all(*chain.from_iterable(pipes))
            raise
        if self.qp == 0:
            _become(program, site, environ, message_out, envelope_out, text)
        close_all(message_out, envelope_out, text)

    def write(self, data: bytes) -> None:
        """Pass on a piece of the message; the first failed write is remembered."""
        if not self._broken:
            self._broken = not _write(self._message, data)

    def abort(self) -> None:
        """End without a complete envelope: the child queues nothing."""
        self._broken = True

    def finish(self, envelope: "Envelope") -> int:
        """Send the envelope and wait; return the exit code of qmail-queue, see queue/format/exit_codes.py."""
        os.close(self._message)
        if not self._broken:
            self._broken = not _write(self._envelope, envelope.render())
        os.close(self._envelope)
        try:
            _, status = os.waitpid(self.qp, 0)
        except OSError:
            os.close(self._text)
            return q.WAIT_FAILED
        reason = left_in(self._text, q.MAX_TEXT)
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            return q.CRASHED
        return q.READ_ERROR if code == 0 and self._broken else q.Reasoned(code, reason)


def _write(fd: int, data: bytes) -> bool:
    try:
        write_all(fd, data)
    except OSError:
        return False
    return True


def _become(
    program: bytes, site: "Site", environ: "Mapping[bytes, bytes]", message: int, envelope: int, text: int
) -> None:
    """Run the program in the child, with descriptors 0, 1 and 4 in place; never returns."""
    try:
        envelope = os.dup(envelope) if envelope == 0 else envelope
        text = os.dup(text) if text < 2 else text
        text = os.dup(text) if text < 2 else text
        os.dup2(message, 0)
        os.dup2(envelope, 1)
        os.dup2(text, q.TEXT_FD)
        os.set_inheritable(q.TEXT_FD, True)
        os.chdir(site.home)
    except OSError:
        os._exit(q.NO_HOME)
    try:
        os.execve(program, [program], dict(environ))
    except OSError:
        os._exit(q.CANNOT_EXEC)
