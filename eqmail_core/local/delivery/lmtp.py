"""A delivery by LMTP: one message for one recipient, with the rights of the current user.

Fails: TemporaryFailure and PermanentFailure, with the report text.
Source: RFC 2033; docs/adr/0014-lmtp-as-a-program-line.md.
"""

import errno
import os
import socket

from eqmail_core.control.setting import ControlError
from eqmail_core.local.delivery.lmtp_command import PROGRAM, Server, server_of
from eqmail_core.mail.address import DOUBLE_BOUNCE, NULL_SENDER, one_line, quote_address
from eqmail_core.outcome import DONE, PERMANENT, PermanentFailure, TemporaryFailure
from eqmail_core.remote.report import report_of_output
from eqmail_core.smtp.blocking_client import run_client
from eqmail_core.smtp.lmtp_client import LmtpClient
from eqmail_core.system.installation import read_controls
from eqmail_core.system.message_file import MessageUnreadable
from eqmail_core.text.error_text import error_text
from eqmail_core.text.options import BadOption, parse_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from eqmail_core.site.site import Site

USAGE = b"qmail-lmtp: usage: qmail-lmtp [-rd] unix:/path|host[:port] [recipient]. (#4.3.5)"
LINES = {b"r": b"RPLINE", b"d": b"DTLINE"}
HELLO = b"localhost"


def deliver_by_lmtp(
    site: "Site", words: list[bytes], environ: "Mapping[bytes, bytes]", message: "Iterable[bytes]"
) -> bytes:
    """Do what `qmail-lmtp WORDS...` does; return the reply of the server.

    The envelope is SENDER and RECIPIENT, unless a word gives the recipient.  RPLINE and DTLINE precede the message.
    """
    server, recipient, first = _parse_arguments(words, environ)
    sender = environ.get(b"SENDER", NULL_SENDER)
    if sender == DOUBLE_BOUNCE:
        sender = NULL_SENDER
    try:
        controls = read_controls(site)
        hello, connect_s, timeout_s = controls.helohost or HELLO, controls.timeoutconnect, controls.timeoutremote
    except ControlError as error:
        raise TemporaryFailure(b"Unable to read control files. (#4.3.0)") from error
    client = LmtpClient(server.name, hello)
    client.begin(quote_address(sender), [quote_address(recipient)])
    pieces = _pieces(first, message)
    with _connect(server, connect_s) as sock:
        run_client(sock, client, lambda: next(pieces, b""), timeout_s)
    result = report_of_output(client.report or b"Z%b does not want mail now. (#4.4.1)\n\0" % server.name)
    if result.outcome == DONE:
        return result.text
    failure = PermanentFailure if result.outcome == PERMANENT else TemporaryFailure
    raise failure(result.text.rstrip(b"\n"))


def _parse_arguments(words: list[bytes], environ: "Mapping[bytes, bytes]") -> tuple[Server, bytes, bytes]:
    """Server, recipient, and the lines that precede the message.

    Fails: TemporaryFailure, because the administrator can correct the line while the mail waits; PermanentFailure for a
    line break in an address.
    """
    try:
        options, words = parse_options([PROGRAM, *words], b"rdRD")
    except BadOption as error:
        raise TemporaryFailure(USAGE) from error
    server = server_of(words[0]) if words else None
    recipient = words[1] if len(words) == 2 else environ.get(b"RECIPIENT", b"")
    if server is None or len(words) > 2 or not recipient:
        raise TemporaryFailure(USAGE)
    if any(one_line(address) != address for address in (recipient, environ.get(b"SENDER", b""))):
        raise PermanentFailure(b"Sorry, there is a line break in the address. (#5.1.3)")
    left_out = {letter for letter, _ in options}
    return server, recipient, b"".join(environ.get(name, b"") for key, name in LINES.items() if key not in left_out)


def _pieces(first: bytes, message: "Iterable[bytes]") -> "Iterator[bytes]":
    """The message as sent: `first` precedes it, and it ends with a newline.  Fails: OSError."""
    if first:
        yield first
    last = first
    try:
        for chunk in message:
            last = chunk
            yield chunk
    except MessageUnreadable as error:
        raise OSError from error
    if last[-1:] not in (b"\n", b""):
        yield b"\n"


def _connect(server: Server, timeout_s: float) -> socket.socket:
    """Open a non-blocking connection.  Fails: TemporaryFailure."""
    try:
        if server.path:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(timeout_s)
            try:
                sock.connect(server.path)
            except OSError:
                sock.close()
                raise
        else:
            sock = socket.create_connection((os.fsdecode(server.host), server.port), timeout_s)
    except (OSError, UnicodeError) as error:
        why = error_text(errno.ETIMEDOUT if isinstance(error, TimeoutError) else getattr(error, "errno", None))
        if isinstance(error, socket.gaierror | UnicodeError):
            why = b"no such host"
        hint = b"; the user must be allowed to write to that socket" if isinstance(error, PermissionError) else b""
        raise TemporaryFailure(b"Unable to connect to %b: %b%b. (#4.4.1)" % (server.name, why, hint)) from error
    sock.setblocking(False)
    return sock
