"""The message that tells postmaster of a submitter that is over its limit."""

from typing import NamedTuple

from eqmail_core.control.controls import Controls
from eqmail_core.dsn.xtext import decode_xtext
from eqmail_core.mail.address import DOUBLE_BOUNCE
from eqmail_core.mail.envelope import Envelope
from eqmail_core.queue.limits.usage import Excess
from eqmail_core.text.sanitize import plain

_FIELDS = {b"login": b"login", b"uid": b"uid", b"address": b"client"}

_SAFE = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@._:-"


class NoticeAddresses(NamedTuple):
    """From whom and to whom notices are sent."""

    sender: bytes
    recipient: bytes


def notice_envelope(addresses: NoticeAddresses) -> bytes:
    """Return the envelope of a notice, without its final NUL; one that cannot be delivered is dropped."""
    return Envelope(DOUBLE_BOUNCE, [addresses.recipient]).render()[:-1]


def render_notice(addresses: NoticeAddresses, excess: Excess, date: bytes, id_left: bytes) -> bytes:
    """Render a notice; `date` with its newline, `id_left`: the part of its Message-ID before the @."""
    kind, name = excess.subject
    shown = plain(decode_xtext(name))
    host = addresses.sender.rpartition(b"@")[2]
    # A name is part of a command only if no shell could see more in it.
    is_plain = not shown.translate(None, _SAFE)
    where = b"%b=%b" % (_FIELDS[kind], shown if is_plain else b"NAME")
    if excess.refuses:
        what = b"Further mail of it is refused for now.\n"
    else:
        what = (
            b"Its mail over the limit is accepted and held in the queue.\n\n"
            b"    eqmail queue list --where 'state=held %b'      shows it\n"
            b"    eqmail queue release --where '%b'              sends it\n"
            b"    eqmail queue delete --where '%b'               drops all mail of this submitter that waits\n"
        ) % (where, where, where)
    return (
        b"From: %b\nTo: %b\nSubject: limit reached: %b %b\nMessage-ID: <%b@%b>\nDate: %b"
        b"Auto-Submitted: auto-generated\n\n"
        b"The limit %b of %b %b is reached (control/%b).\n"
        b"%b\nIf this is a surprise, a password may be stolen or a program may be out of control.\n"
        b"There is one such message for each submitter and period.\n"
    ) % (
        addresses.sender,
        addresses.recipient,
        kind,
        shown,
        id_left,
        host,
        date,
        excess.bucket.text,
        kind,
        shown,
        Controls.submissionlimits.file.encode(),
        what,
    )
