"""How every blocking program puts a message into the queue: qmail-queue, or what QMAILQUEUE names, as a child.

Where the program to run is qmail-queue as setup wrote it, and the service answers, the child does the program's work
without executing it: that saves the start of an interpreter per message.  The resident services speak queue_wire
themselves when QMAILQUEUE is not set.

Source: queue.md 3.5 "caller library contract".
"""

import os

from eqmail_core.net import queue_submit
from eqmail_core.protocols.queue_wire import render_envelope
from eqmail_core.system.files import read_file, write_all
from eqmail_core.values import queue_result as q

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from eqmail_core.values.site import Site


class QueueProgram:
    """One message on its way into the queue through a child process.

    Write the message in any pieces, then `finish` with the envelope; `pid` is the qp of the log.
    Fails: never while writing (the child's exit code tells); `finish` returns that code.
    """

    def __init__(self, site: "Site", environ: "Mapping[bytes, bytes]") -> None:
        message_out, self._message = os.pipe()
        envelope_out, self._envelope = os.pipe()
        program = environ.get(b"QMAILQUEUE", os.fsencode(f"{site.bin}/qmail-queue"))
        self._broken = False
        self.pid = os.fork()
        if self.pid == 0:
            _become(program, site, environ, message_out, envelope_out)
        os.close(message_out)
        os.close(envelope_out)

    def write(self, data: bytes) -> None:
        """Pass on a piece of the message; the first failed write is remembered."""
        if not self._broken:
            self._broken = not _write(self._message, data)

    def abort(self) -> None:
        """Let go without a complete envelope: the child will not queue anything."""
        self._broken = True

    def finish(self, sender: bytes, recipients: list[bytes], wishes: bytes = b"") -> int:
        """Pass on the envelope and wait; the exit code of qmail-queue, see `values.queue_result`.

        `wishes` as in `formats.wishes`.
        """
        os.close(self._message)
        if not self._broken:
            self._broken = not _write(self._envelope, render_envelope(sender, recipients, wishes))
        os.close(self._envelope)
        try:
            _, status = os.waitpid(self.pid, 0)
        except OSError:
            return q.WAIT_FAILED
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            return q.CRASHED
        return q.READ_ERROR if code == 0 and self._broken else code


def _write(fd: int, data: bytes) -> bool:
    try:
        write_all(fd, data)
    except OSError:
        return False
    return True


# What makes bin/qmail-queue ours: the line by which the program that setup writes finds its code.
_OUR_QUEUE = b"\nfrom eqmail_core.programs.qmail_queue import main\n"


def _become(program: bytes, site: "Site", environ: "Mapping[bytes, bytes]", message: int, envelope: int) -> None:
    """The child: descriptors 0 and 1 in place, then the program or its work; never returns."""
    try:
        envelope = os.dup(envelope) if envelope == 0 else envelope
        os.dup2(message, 0)
        os.dup2(envelope, 1)
        os.chdir(site.home)
    except OSError:
        os._exit(q.NO_HOME)
    _do_its_work(program, site)
    try:
        os.execve(program, [program], dict(environ))
    except OSError:
        os._exit(q.CANNOT_EXEC)


def _do_its_work(program: bytes, site: "Site") -> None:
    """Submit to the service and end, if that is all that the program would do; return if not."""
    if program != os.fsencode(f"{site.bin}/qmail-queue"):
        return
    try:
        if _OUR_QUEUE not in (read_file(program) or b""):
            return
        os.closerange(3, 1 << 20)
        sock = queue_submit.connect(site.socket("queue"))
    except OSError:
        return
    if sock is not None:
        code = q.BUG
        try:
            queue_submit.guard()
            code = queue_submit.submit(sock, 0, 1)
        finally:
            os._exit(code)
