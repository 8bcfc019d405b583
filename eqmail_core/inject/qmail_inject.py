"""qmail-inject as a function, for all programs that inject messages.

The header is rewritten in memory; the body passes through in pieces, so messages may be of any size.

Source: delivery.md 5.7 (qmail-inject.c).
"""

import os
import time

from eqmail_core.control.inject_settings import InjectSettings
from eqmail_core.control.setting import ControlError
from eqmail_core.inject.header_rewriter import HeaderRewriter
from eqmail_core.inject.host_defaults import BadAddress, HostDefaults
from eqmail_core.inject.originator import Originator
from eqmail_core.mail.address import header_address
from eqmail_core.mail.envelope import Envelope
from eqmail_core.mail.header import LfLines
from eqmail_core.outcome import EXIT_DONE, EXIT_PERMANENT, EXIT_TEMPORARY, Failure, TemporaryFailure
from eqmail_core.queue.client.blocking import open_queue
from eqmail_core.queue.client.enqueue import enqueue
from eqmail_core.system.files import CHUNK, read_file, write_all
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import write_stderr
from eqmail_core.system.message_input import read_header
from eqmail_core.text.lines import non_empty_lines
from eqmail_core.text.options import BadOption, parse_options, program_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eqmail_core.dsn.parameters import DsnParameters
    from eqmail_core.mail.header import HeaderReader
    from eqmail_core.site.site import Site

_OPTIONS = b"aAhHnNf:"
_FATAL = b"qmail-inject: fatal: "


class _Options:
    """The command line: the source of recipients, whether to queue, and the sender if given."""

    def __init__(self, argv: list[bytes]) -> None:
        options, self.arguments = parse_options(argv, _OPTIONS)
        source, self.queues, self.senders = b"A", True, []
        for letter, argument in options:
            if letter == b"f":
                self.senders.append(argument)
            elif letter in b"nN":
                self.queues = letter == b"N"
            else:
                source = letter
        if source == b"A":
            source = b"a" if self.arguments else b"h"
        self.uses_header = source in b"hH"
        if source == b"h":
            self.arguments = []


def inject(
    argv: list[bytes], environ: "Mapping[bytes, bytes]", prefix: bytes = b"", dsn: "DsnParameters | None" = None
) -> int:
    """Complete the message on standard input, preceded by `prefix`, and queue it.

    Returns the exit code: 0, 100 or 111.  The DSN parameters of recipient 0 in `dsn` apply to every recipient.
    """
    try:
        _inject(argv, environ, prefix, dsn)
    except BadOption as bad:
        write_stderr(program_name(argv) + b": " + bad.text + b"\n")
        return EXIT_PERMANENT
    except BadAddress as bad:
        write_stderr(_FATAL + bad.text)
        return EXIT_PERMANENT
    except Failure as failure:
        write_stderr(_FATAL + failure.text + b"\n")
        return failure.exit_code
    except (OSError, ControlError):
        write_stderr(_FATAL + b"read error\n")
        return EXIT_TEMPORARY
    return EXIT_DONE


def _inject(argv: list[bytes], environ: "Mapping[bytes, bytes]", prefix: bytes, dsn: "DsnParameters | None") -> None:
    now = time.time()
    site = read_site(environ)
    rewriter = _begin(site, environ, now)
    words = _Options(argv)
    for sender in words.senders:
        rewriter.use_sender(sender)
    for recipient in words.arguments:
        rewriter.add_recipient(recipient)
    reader = read_header(0, prefix)
    rewriter.take_header(reader.fields)
    if words.queues:
        recipients = rewriter.recipients(words.uses_header)
        _queue(site, environ, rewriter, reader, recipients, _list_of(dsn, len(recipients)))
    else:
        sender_line = b"Return-Path: <%b>\n" % header_address(rewriter.sender)
        _copy(lambda data: write_all(1, data), sender_line + rewriter.header, reader)


def _list_of(dsn: "DsnParameters | None", count: int) -> bytes:
    """The DSN parameters as a list for `count` recipients."""
    if dsn is None:
        return b""
    # Imported here, because few messages have DSN parameters and all would pay for it.
    from eqmail_core.dsn.parameters import render_dsn

    return render_dsn(dsn.for_each(count))


def _queue(
    site: "Site",
    environ: "Mapping[bytes, bytes]",
    rewriter: HeaderRewriter,
    reader: "HeaderReader",
    recipients: list[bytes],
    dsn: bytes,
) -> None:
    try:
        queue = open_queue(site, environ)
    except OSError as error:
        raise TemporaryFailure(b"unable to run qmail-queue") from error
    try:
        _copy(queue.write, rewriter.header, reader)
    except OSError:
        queue.abort()
        queue.finish(Envelope(b"", []))
        raise
    enqueue(queue, Envelope(rewriter.sender, recipients, dsn))


def _begin(site: "Site", environ: "Mapping[bytes, bytes]", now: float) -> HeaderRewriter:
    lists = read_file(environ[b"QMAILMFTFILE"]) if b"QMAILMFTFILE" in environ else None
    # Not all settings: that table is long, and few of them apply to injected messages.
    controls = InjectSettings(lambda name: read_file(f"{site.control}/{name}"), environ)
    rules = HostDefaults(controls.defaulthost, controls.defaultdomain, controls.plusdomain)
    return HeaderRewriter(
        rules, Originator(environ), controls.idhost, now, os.getpid(), non_empty_lines((lists or b"").lower())
    )


def _copy(put: "Callable[[bytes], None]", header: bytes, reader: "HeaderReader") -> None:
    """Copy header, begun body and the rest of standard input; add a missing final LF."""
    put(header)
    lines = LfLines() if reader.is_crlf else None
    body = reader.body
    while body:
        put(body if lines is None else lines.feed(body))
        last = body
        body = os.read(0, CHUNK)
        if not body:
            put(b"" if lines is None else lines.finish())
            if not last.endswith(b"\n"):
                put(b"\n")
