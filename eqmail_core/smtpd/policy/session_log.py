"""The log of one SMTP session: what is logged, and in which words.

Source: smtp-server.md 4.2 (log lines); control file smtplogformat.
"""

from eqmail_core.smtpd.policy.outcome import (
    ACCEPTED,
    BAD_NEWLINES,
    FINAL_REPLIES,
    NO_CONTROLS,
    READ_FAILED,
    TIMED_OUT,
    log_line,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from eqmail_core.smtpd.policy.authority import ClientAuthority
    from eqmail_core.smtpd.protocol.events import Refusal
    from eqmail_core.smtpd.protocol.session import ServerProtocol

_ABOUT_MESSAGE = b"message "

# Beginnings of the lines C logs: other lines confuse log readers made for it.
_OF_C = (READ_FAILED, TIMED_OUT, NO_CONTROLS, BAD_NEWLINES, _ABOUT_MESSAGE)


class SmtpLog:
    """The log of one session with `client`.

    `write` writes a line, `may_log(ip)` is whether an address may cause another.  Lines about received messages are not
    counted: no client causes more of them than messages.  `logs_all`: more than C does.
    """

    __slots__ = ("_client", "_core", "_logs_all", "_may_log", "_write")

    def __init__(
        self,
        core: "ServerProtocol",
        client: "ClientAuthority",
        logs_all: bool,
        may_log: "Callable[[bytes], bool]",
        write: "Callable[[bytes], None]",
    ) -> None:
        self._core = core
        self._client = client
        self._logs_all = logs_all
        self._may_log = may_log
        self._write = write

    def note(self, what: bytes) -> None:
        """Log an event of the session."""
        if self._core.refusals:
            self.note_refusals()
        core, login = self._core, self._client.login
        if what == ACCEPTED and login is not None and self._logs_all:
            what = b"%b (login %b)" % (ACCEPTED, login)
        self._log(what, core.sender, core.last_address)

    def note_refusals(self) -> None:
        """Log the refused commands."""
        for refusal in self._core.take_refusals():
            if refusal.line not in FINAL_REPLIES:
                self._log(_refused(refusal), refusal.sender, refusal.recipient)

    def _log(self, what: bytes, sender: bytes | None, recipient: bytes | None) -> None:
        ip = self._client.remote_ip
        if not (self._logs_all or what.startswith(_OF_C)):
            return
        if what.startswith(_ABOUT_MESSAGE) or self._may_log(ip):
            self._write(log_line(what, sender, ip, recipient, self._core.helo))


def _refused(refusal: "Refusal") -> bytes:
    if refusal.user is not None:
        return b"login of %b failed (%b)" % (refusal.user, refusal.line)
    return b"refused (%b)" % refusal.line
