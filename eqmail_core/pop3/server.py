"""POP3 for one client on descriptors 0 and 1: authentication, then its Maildir.  Light.

Source: smtp-server.md 4.12 (qmail-popup.c, qmail-pop3d.c).
"""

import os
import time

from eqmail_core.auth.checkpassword import NO_CHILD, NO_PIPE
from eqmail_core.auth.checkpassword_process import start_checker
from eqmail_core.auth.credentials import Credentials
from eqmail_core.outcome import Failure
from eqmail_core.pop3 import maildrop
from eqmail_core.pop3 import protocol as pop3
from eqmail_core.pop3.authorisation import Authorisation
from eqmail_core.pop3.message_encoder import MessageText
from eqmail_core.pop3.tls_settings import TIMEOUT_S
from eqmail_core.system.files import CHUNK, write_all
from eqmail_core.system.log import log_line
from eqmail_core.system.processes import await_end
from eqmail_core.system.timed_stream import ConnectionLost, TimedOut, TimedStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eqmail_core.pop3.tls_session import Check, TlsLogin

_NOT_STARTED = {NO_PIPE: b"unable to open pipe", NO_CHILD: b"unable to fork"}
_CRASHED = b"aack, child crashed"


def authenticate(
    hostname: bytes,
    checker: list[bytes],
    environ: "Mapping[bytes, bytes]",
    tls: "Callable[[], TlsLogin] | None" = None,
    needs_tls: bool = False,
) -> None:
    """Read credentials and run `checker`; if it accepts them, it serves the client itself.

    No byte after the line that completes the credentials is read: it belongs to the program that the checker starts.
    `tls`: what begins TLS, where the host has a certificate; with `needs_tls` no password is taken without it.
    """
    if not _can_run(checker[0], environ):
        log_line("qmail-popup", b"alert: %b: no such program checks passwords; clients are refused" % checker[0])
        write_all(1, pop3.refusal(pop3.NO_CHECKER))
        return
    greeting = b"<%d.%d@%b>" % (os.getpid(), int(time.time()), hostname)
    machine = Authorisation(greeting, tls is not None, needs_tls)
    client = TimedStream(TIMEOUT_S)
    try:
        client.write(machine.take_output())
        while not machine.closed:
            machine.receive(client.read(1))
            event = machine.next_event()
            if isinstance(event, Credentials):
                problem = _ask(checker, environ, event)
                if problem is not None:
                    client.write(pop3.refusal(problem))
                return
            if (
                isinstance(event, pop3.TlsRequest)
                and tls is not None
                and _serve_over_tls(
                    client, machine, tls(), lambda found, session: _ask(checker, environ, found, session)
                )
            ):
                return
            client.write(machine.take_output())
    except (TimedOut, ConnectionLost):
        pass


def _serve_over_tls(client: TimedStream, machine: Authorisation, login: "TlsLogin", check: "Check") -> bool:
    """Serve the client to its end; False where TLS cannot begin, which the machine replies."""
    from eqmail_core.tls.session_info import TlsUnavailable

    try:
        stream = login.prepare(client)
    except TlsUnavailable as reason:
        log_line("qmail-popup", b"alert: no TLS: " + str(reason).encode("utf-8", "replace"))
        machine.refuse_tls()
        return False
    machine.begin_tls()
    client.write(machine.take_output())
    login.serve(stream, machine, _credentials, check)
    return True


def _credentials(client: TimedStream, machine: pop3.Pop3Machine) -> Credentials | None:
    """Converse until the credentials are complete; None at the end of the session.  Fails: TimedOut, ConnectionLost."""
    while not machine.closed:
        event = machine.next_event()
        client.write(machine.take_output())
        if isinstance(event, Credentials):
            return event
        if event is None and not machine.closed:
            machine.receive(client.read())
    return None


def _can_run(program: bytes, environ: "Mapping[bytes, bytes]") -> bool:
    """Whether a program is found as it would be when it is started."""
    if b"/" in program:
        return os.access(program, os.X_OK)
    folders = environ.get(b"PATH", os.fsencode(os.defpath)).split(b":")
    return any(os.access(os.path.join(folder, program), os.X_OK) for folder in folders)


def _ask(
    checker: list[bytes], environ: "Mapping[bytes, bytes]", credentials: Credentials, client: int | None = None
) -> bytes | None:
    """Run the checker to its end; None, or the error text for the client."""
    pid = start_checker(checker, environ, credentials, client)
    if pid <= 0:
        return _NOT_STARTED.get(pid, pop3.AUTHORIZATION_FAILED)
    code = await_end(pid)
    return None if code == 0 else _CRASHED if code < 0 else pop3.AUTHORIZATION_FAILED


def serve_maildir(maildir: bytes) -> None:
    """Serve the messages of a Maildir; nothing is removed before QUIT."""
    client = TimedStream(TIMEOUT_S)
    try:
        try:
            os.chdir(maildir)
        except OSError:
            client.write(pop3.refusal(pop3.NO_MAILDIR))
            return
        try:
            messages = maildrop.messages(time.time())
        except Failure:
            client.write(pop3.refusal(pop3.CANNOT_SCAN))
            return
        _run_session(client, messages)
    except (TimedOut, ConnectionLost):
        pass


def _run_session(client: TimedStream, messages: list[maildrop.MaildropFile]) -> None:
    machine = pop3.Transaction([pop3.MaildropMessage(message.size, message.name) for message in messages])
    while True:
        while (event := machine.next_event()) is not None:
            if isinstance(event, pop3.Retrieve):
                _send(client, machine, messages[event.index], event.lines)
            elif isinstance(event, pop3.Update):
                kept = [message for index, message in enumerate(messages) if index not in event.deleted]
                is_done = maildrop.update(kept, [messages[index] for index in event.deleted])
                machine.end(None if is_done else pop3.CANNOT_UNLINK)
            client.write(machine.take_output())
        client.write(machine.take_output())
        if machine.closed:
            return
        machine.receive(client.read())


def _send(client: TimedStream, machine: pop3.Transaction, message: maildrop.MaildropFile, lines: int | None) -> None:
    try:
        fd = maildrop.open_message(message)
    except OSError:
        machine.refuse(pop3.CANNOT_OPEN)
        return
    try:
        machine.send_message()
        client.write(machine.take_output())
        text = MessageText(lines)
        while not text.is_over and (piece := _read(fd)):
            client.write(text.encode(piece))
        client.write(text.finish())
    finally:
        os.close(fd)


def _read(fd: int) -> bytes:
    """Read a piece of a message; an error ends the connection, so that it never looks complete."""
    try:
        return os.read(fd, CHUNK)
    except OSError as error:
        raise ConnectionLost(reading=False) from error
