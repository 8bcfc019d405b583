"""One delivery to one user, from envelope to last instruction: qmail-local as a library.

Runs as the user, in a separate process: the working directory becomes the home.  Programs inherit descriptors 0, 1
and 2, with descriptor 0 at the beginning of the message.

Fails: TemporaryFailure and PermanentFailure with the report text, which is empty after a program that wrote its own.
Source: qmail-local(8), dot-qmail(5), qmail-command(8).
"""

import time

from eqmail_core.local.delivery.dotqmail import FORWARD, MAILDIR, MBOX, PROGRAM, REFUSED, plain
from eqmail_core.local.delivery.home import STICKY, enter_home, find_instructions, find_new_sender
from eqmail_core.local.delivery.program import run_program
from eqmail_core.local.delivery.request import (
    SET_ASIDE_FLAG,
    LocalDelivery,
    delivered_to_line,
    return_path_line,
    variables,
)
from eqmail_core.mail.envelope import Envelope
from eqmail_core.mail.mbox import from_line
from eqmail_core.mailbox.maildir import deliver_to_maildir
from eqmail_core.mailbox.mbox_file import append_to_mailbox
from eqmail_core.outcome import (
    DONE,
    DSN_RELAYED,
    DURABLE,
    EXPANDED,
    PERMANENT,
    DeliveryResult,
    PermanentFailure,
    TemporaryFailure,
)
from eqmail_core.queue.client.blocking import open_queue
from eqmail_core.queue.format.exit_codes import explain
from eqmail_core.system.message_file import MessageFile, MessageUnreadable
from eqmail_core.text.error_text import error_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eqmail_core.outcome import Disposition
    from eqmail_core.site.site import Site

LOOPING = b"This message is looping: it already has my Delivered-To line. (#5.4.6)"


def deliver(site: "Site", delivery: LocalDelivery, message_fd: int, environ: "Mapping[bytes, bytes]") -> DeliveryResult:
    """Deliver the message in `message_fd`, which must be descriptor 0 if programs read it.

    Returns the result of a delivery that succeeded.
    """
    if enter_home(delivery.home, site.patrn):
        raise TemporaryFailure(STICKY)
    try:
        return _DeliveryRun(site, delivery, MessageFile(message_fd), environ).run()
    except MessageUnreadable as error:
        raise TemporaryFailure(b"Unable to read message. (#4.3.0)") from error


def dry_run(
    site: "Site", delivery: LocalDelivery, say: "Callable[[bytes], None]", warn: "Callable[[bytes], None]"
) -> None:
    """Print, line by line, what `deliver` would do, without a message and without doing it."""
    if enter_home(delivery.home, site.patrn):
        warn(b"Warning: home directory is sticky.\n")
    instructions = find_instructions(delivery.dash, delivery.ext, delivery.default, site.patrn)
    done: list[bytes] = []
    for kind, argument in instructions.instructions:
        if kind == REFUSED:
            raise TemporaryFailure(argument)
        say(b"%b %b\n" % (kind, argument))
        done.append(kind)
    say(delivery_counts(done))


def delivery_counts(done: list[bytes]) -> bytes:
    """Render the line that counts files, forwards and programs."""
    forwards, programs = done.count(FORWARD), done.count(PROGRAM)
    return b"did %d+%d+%d\n" % (len(done) - forwards - programs, forwards, programs)


class _DeliveryRun:
    """The state of one delivery."""

    def __init__(
        self, site: "Site", delivery: LocalDelivery, message: MessageFile, environ: "Mapping[bytes, bytes]"
    ) -> None:
        self._site = site
        self._it = delivery
        self._message = message
        self._environ = dict(environ)
        self._return_path = return_path_line(delivery.sender)
        self._delivered_to = delivered_to_line(delivery.recipient)
        self._now = time.time()
        self._new_sender = b""
        self._done: list[bytes] = []

    def run(self) -> DeliveryResult:
        """Check for a loop, then follow the instructions."""
        delivery = self._it
        if self._message.has_header_line(self._delivered_to):
            raise PermanentFailure(LOOPING)
        instructions = find_instructions(delivery.dash, delivery.ext, delivery.default, self._site.patrn)
        self._new_sender = find_new_sender(delivery)
        self._environ.update(variables(delivery, self._new_sender, instructions.default_at, self._now))
        recipients = []
        for kind, argument in instructions.instructions:
            if kind == REFUSED:
                raise TemporaryFailure(argument)
            plain_argument = plain(argument)
            self._done.append(kind)
            if kind == FORWARD:
                recipients.append(plain_argument)
            elif kind == MAILDIR:
                self._to_maildir(plain_argument)
            elif kind == MBOX:
                head = from_line(delivery.sender, self._now) + self._return_path + self._delivered_to
                append_to_mailbox(plain_argument, head, self._message)
            elif run_program(self._site, plain_argument, self._environ, self._message):
                break
        text = delivery_counts(self._done)
        if not recipients:
            return DeliveryResult(DONE, text)
        return DeliveryResult(DONE, text + b"qp %d\n" % self._forward(recipients), self._disposition())

    def _to_maildir(self, path: bytes) -> None:
        part = self._done.count(MAILDIR) - 1
        if SET_ASIDE_FLAG in self._message.head:
            # Imported here: few messages have it, and every process would pay for it.
            from eqmail_core.local.delivery.set_aside import folder_for

            path = folder_for(self._site, path, self._message)
        deliver_to_maildir(path, self._return_path + self._delivered_to, self._message, self._it.name, part)

    def _forward(self, recipients: list[bytes]) -> int:
        try:
            queue = open_queue(self._site, self._environ)
        except OSError as error:
            raise TemporaryFailure(b"Unable to fork: %b. (#4.3.0)" % error_text(error.errno)) from error
        queue.write(self._delivered_to)
        try:
            for chunk in self._message.chunks():
                queue.write(chunk)
        except MessageUnreadable:
            queue.abort()
        envelope = Envelope(self._new_sender, recipients, self._forward_dsn(len(recipients)))
        answer = explain(queue.finish(envelope))
        if answer:
            failure = PermanentFailure if answer[:1] == PERMANENT else TemporaryFailure
            raise failure(b"Unable to forward message: " + answer[1:] + b".")
        return queue.qp

    def _forward_dsn(self, count: int) -> bytes:
        """The DSN parameters for `count` forward recipients."""
        if not self._it.dsn:
            return b""
        # Imported only here: most mail has no DSN parameters.
        from eqmail_core.dsn.parameters import relayed_dsn

        return relayed_dsn(self._it.dsn, count, len(self._done) == 1, self._is_same_sender())

    def _is_same_sender(self) -> bool:
        """Tell whether this forwards like an alias; else it is a list, where the message arrives."""
        return self._new_sender == self._it.sender

    def _disposition(self) -> "Disposition":
        """The disposition of a forwarded message.  Source: RFC 3461 section 5.2.7."""
        if not self._is_same_sender() or set(self._done) != {FORWARD}:
            return DURABLE
        return DSN_RELAYED if len(self._done) == 1 else EXPANDED
