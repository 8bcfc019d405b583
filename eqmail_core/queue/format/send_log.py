"""The log lines of qmail-send, in the grammar of 1.09 or in that of eQmail after 1.09.

Log analysers know the former.

Every method returns one line with its newline. Untrusted text is made safe, so that a line always stays one line.

Source: queue.md 3.12.
"""

from eqmail_core.control.delivery_settings import HEAD

_UNSAFE_109 = bytes(b if 33 <= b <= 126 and b != 37 else 47 if b == 10 else 95 for b in range(256))
_UNSAFE_HEAD = bytes(b if 32 <= b <= 126 and b != 37 else 32 for b in range(256))


class LogLines:
    """The grammar of 1.09, which all versions of qmail share."""

    _table = _UNSAFE_109
    _prefix = b""
    _new = b"new msg %d\n"
    _info = b"info msg %d: bytes %d from <%b> qp %d uid %d\n"
    _bounce = b"bounce msg %d qp %d\n"
    _end = b"end msg %d\n"
    _starting = b"starting delivery %d: msg %d to %b %b\n"
    _status = b"status: local %d/%d remote %d/%d\n"
    _status_exiting = b"status: local %d/%d remote %d/%d exitasap\n"
    _delivery = {
        b"K": b"delivery %d: success: %b\n",
        b"Z": b"delivery %d: deferral: %b\n",
        b"D": b"delivery %d: failure: %b\n",
    }
    _mangled = b"delivery %d: report mangled, will defer\n"

    def safe(self, text: bytes) -> bytes:
        """Return untrusted text made safe for a line."""
        return text.translate(self._table)

    def new_message(self, number: int) -> bytes:
        """A message was found."""
        return self._new % number

    def about_message(self, number: int, size: int, sender: bytes, qp: int, uid: int) -> bytes:
        """A message's size, sender and origin."""
        return self._info % (number, size, sender.translate(self._table), qp, uid)

    def end_message(self, number: int) -> bytes:
        """A message was removed from the queue."""
        return self._end % number

    def bounced(self, number: int, qp: int) -> bytes:
        """A bounce of a message was queued by process `qp`."""
        return self._bounce % (number, qp)

    def triple_bounce(self, name: bytes) -> bytes:
        """The failure of a double bounce was dropped; `name` is its file."""
        return b"%btriple bounce: discarding %b\n" % (self._prefix, name)

    def starting(self, delivery: int, number: int, channel: bytes, recipient: bytes) -> bytes:
        """A delivery attempt begins."""
        return self._starting % (delivery, number, channel, recipient.translate(self._table))

    def report(self, delivery: int, letter: bytes, text: bytes) -> bytes:
        """A delivery attempt ended with `letter` K, Z or D; any other letter is a mangled report."""
        form = self._delivery.get(letter)
        return self._mangled % delivery if form is None else form % (delivery, text.translate(self._table))

    def status(self, local: int, local_limit: int, remote: int, remote_limit: int, exiting: bool) -> bytes:
        """The numbers of running deliveries."""
        return (self._status_exiting if exiting else self._status) % (local, local_limit, remote, remote_limit)

    def exiting(self) -> bytes:
        """The last line."""
        return self._prefix + b"status: exiting\n"

    def warned(self, number: int, qp: int) -> bytes:
        """A delay warning was sent, as a message that process `qp` queued; a line like `audit`."""
        return b"qmail-send: notice: delay msg %d qp %d\n" % (number, qp)

    def bounce_waits(self, number: int, recipient: bytes, wait_s: int) -> bytes:
        """A sender reached the hourly limit of bounces; a line like `audit`."""
        form = b"qmail-send: notice: bounce msg %d waits %d seconds: <%b> has had bouncelimit bounces within the hour\n"
        return form % (number, wait_s, recipient.translate(self._table))

    def audit(self, uid: int, verb: bytes, number: int, sender: bytes, result: bytes) -> bytes:
        """An administrator changed a message.

        Analysers ignore the line: its first word is not in the grammar.
        """
        form = b"qmail-send: audit: uid %d %b msg %d from <%b>: %b\n"
        return form % (uid, verb, number, sender.translate(self._table), result)

    def warning(self, text: bytes) -> bytes:
        """Something failed and will be tried again."""
        return b"%bwarning: %b\n" % (self._prefix, text)

    def alert(self, text: bytes) -> bytes:
        """Something failed and needs action by a person."""
        return b"%balert: %b\n" % (self._prefix, text)


class HeadLogLines(LogLines):
    """The grammar of eQmail after 1.09: every line names the program.

    Blanks replace unsafe bytes.
    """

    _table = _UNSAFE_HEAD
    _prefix = b"qmail-send: "
    _new = b"qmail-send: notice: new msg %d\n"
    _info = b"qmail-send: info: msg %d: bytes %d from <%b> qp %d uid %d\n"
    _bounce = b"qmail-send: notice: bounce msg %d qp %d\n"
    _end = b"qmail-send: notice: end msg %d\n"
    _starting = b"qmail-send: starting delivery %d: msg %d to %b %b\n"
    _status = b"qmail-send: status: local %d/%d remote %d/%d\n"
    _status_exiting = b"qmail-send: status: local %d/%d remote %d/%d exitasap\n"
    _delivery = {letter: b"qmail-send: " + form for letter, form in LogLines._delivery.items()}
    _mangled = b"qmail-send: delivery %d: report mangled, will defer\n"

    def alert(self, text: bytes) -> bytes:
        """Something failed and needs action by a person; without the sigh that C prints."""
        return super().alert(text.removeprefix(b"oh no! "))


def log_lines(logformat: bytes) -> LogLines:
    """Return the grammar of a setting: `head`, or 1.09 for every other value."""
    return HeadLogLines() if logformat == HEAD else LogLines()
