"""SPF, DKIM, ARC and DMARC of a complete message: what is found goes into its header, and may refuse it.

The message is checked as it was received, before any filter has changed it; filters see the results in its header.
Not checked is mail of clients that may relay or have logged in; fields that claim to be this host's are removed from
that, too.

Source: control files authcheck, dmarcwalk, arctrust; RFC 8601 section 5; RFC 9989 section 5.
"""

from eqmail_core.mail_auth.auth_results import claims_to_be_from, render_results
from eqmail_core.mail_auth.dmarc import PERMERROR, TEMPERROR
from eqmail_core.mail_auth.dmarc_record import QUARANTINE, REJECT
from eqmail_core.mail_auth.message_check import DEFER, CheckedMessage, MessageCheck, MessageSource
from eqmail_core.smtpd.policy.requests import Delay, RunSearch
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.events import Decision

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator

    from eqmail_core.filters.message import FilteredMessage
    from eqmail_core.filters.transaction import TransactionInfo
    from eqmail_core.mail_auth.dmarc import PublicSuffix
    from eqmail_core.smtpd.policy.requests import Request, RequestResult

    Checking = Generator[Request, RequestResult, Decision | None]

QUARANTINED = b"X-Spam-Flag: YES"
"""The field of a message that its author's domain wants to be set aside."""

_BYTES_OF_A_TURN = 1 << 20

MAX_LOGGED = 500
"""Most bytes of the checks that one log line names."""


class AuthCheckConfig:
    """How messages are checked.

    `is_enforced`: policies of domains count. `clock()`: seconds since the epoch. `sealers`, `public_suffix`: as in
    `MessageCheck`. `record`: called with every result, for reports to the domains of authors.
    `write_log`: called with a line about checks that could not be made.
    """

    __slots__ = ("clock", "is_enforced", "public_suffix", "record", "sealers", "write_log")

    def __init__(
        self,
        is_enforced: bool,
        clock: "Callable[[], float]",
        sealers: "Collection[bytes]" = (),
        public_suffix: "PublicSuffix | None" = None,
        record: "Callable[[CheckedMessage, MessageSource], None] | None" = None,
        write_log: "Callable[[bytes], None]" = lambda line: None,
    ) -> None:
        self.write_log = write_log
        self.record = record
        self.is_enforced = is_enforced
        self.clock = clock
        self.sealers = sealers
        self.public_suffix = public_suffix

    def ask_ahead(self, info: "TransactionInfo") -> "Generator[Request, RequestResult, None]":
        """Ask about the sender while the client goes on."""
        if _is_checked(info):
            yield RunSearch(_source(info).spf(int(self.clock())), ahead=True)

    def authenticate(self, info: "TransactionInfo", message: "FilteredMessage") -> "Checking":
        """Check a message and write the results into its header; return a refusal, or None."""
        return _authenticate(self, info, message)


def _is_checked(info: "TransactionInfo") -> bool:
    return info.user is None and not info.may_relay


def _authenticate(config: AuthCheckConfig, info: "TransactionInfo", message: "FilteredMessage") -> "Checking":
    found: CheckedMessage | None = None
    if _is_checked(info):
        check = MessageCheck(
            _source(info), message.header.fields, int(config.clock()), config.sealers, config.public_suffix
        )
        if check.needs_body:
            yield from _feed(check, message)
        outcome = yield RunSearch(check.search())
        found = outcome if isinstance(outcome, CheckedMessage) else None
        if found is not None:
            _log_errors(config, info, found)
        if found is not None and config.record is not None:
            config.record(found, _source(info))
        refusal = _refusal(found) if config.is_enforced else None
        if refusal is not None:
            return refusal
    message.header.remove(lambda field: claims_to_be_from(field, info.own_name))
    if found is not None:
        fields = [render_results(info.own_name, found.results)]
        if config.is_enforced and found.action == QUARANTINE:
            fields.append(QUARANTINED)
        message.prepend(fields)
    return None


def _log_errors(config: AuthCheckConfig, info: "TransactionInfo", found: CheckedMessage) -> None:
    """Log which checks could not be made, and why: silence of the DNS, or a bound."""
    words = [
        b"%b=%b (%b)" % (it.method, it.result, it.reason or it.comment or b"no reason")
        for it in found.results
        if it.result in (TEMPERROR, PERMERROR)
    ]
    if words:
        sender = info.sender or b""
        config.write_log(b"message from <%b> at %b: %b" % (sender, info.ip, b", ".join(words)[:MAX_LOGGED]))


def _feed(check: MessageCheck, message: "FilteredMessage") -> "Generator[Request, RequestResult, None]":
    """Hash the body; other clients have their turn after each megabyte."""
    count = 0
    for piece in message.body_pieces():
        check.feed(piece)
        count += len(piece)
        if count >= _BYTES_OF_A_TURN:
            count = 0
            yield Delay(0)


def _source(info: "TransactionInfo") -> MessageSource:
    return MessageSource(info.ip, info.helo or b"", info.sender or b"", info.own_name)


def _refusal(found: CheckedMessage | None) -> Decision | None:
    if found is None or found.action == DEFER:
        return Decision(False, [reply.UNAUTHENTICATED_NOW])
    if found.action == REJECT:
        return Decision(False, [reply.unauthenticated(found.dmarc.record_domain)])
    return None
