"""The sender that a message leaves with, so that its bounces come back here, and the address that such a bounce is for.

A forward with a sender of another host gets an address of SRS, so that SPF at its next host looks at this one; a sender
of this host is signed by BATV.  Both only where there are secrets.  Sent as they are: the null sender, and mail that is
no forward.

Fails: InvalidReturnPath for a recipient that this host has not made, or not lately.
Source: control files srssecrets, srsdomain, batvsecrets, batvcheck.
"""

from eqmail_core.mail.domain_name import table_key
from eqmail_core.mail_auth import batv, srs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_ADDRESS = 256
"""Longest address that is made, in bytes (RFC 5321 section 4.5.3.1.3); a sender that would be longer stays."""


class InvalidReturnPath(ValueError):
    """A recipient of SRS or BATV that is not valid here; the text says why."""


class ReturnPaths:
    """How senders are rewritten and bounces find back; the first secret of each list is the current one.

    `domain`: the domain of SRS addresses. `is_own(address)`: whether mail for an address stays on this host.
    `refuses_unsigned`: bounces to addresses of this host must have a signature. `clock()`: seconds since the epoch.
    """

    __slots__ = ("_batv", "_clock", "_domain", "_is_own", "_refuses_unsigned", "_srs")

    def __init__(
        self,
        srs_secrets: "Sequence[bytes]",
        batv_secrets: "Sequence[bytes]",
        domain: bytes,
        is_own: "Callable[[bytes], bool]",
        clock: "Callable[[], float]",
        refuses_unsigned: bool = False,
    ) -> None:
        self._srs = tuple(srs_secrets) if domain else ()
        self._batv = tuple(batv_secrets)
        self._domain = domain
        self._is_own = is_own
        self._clock = clock
        self._refuses_unsigned = refuses_unsigned and bool(batv_secrets)

    def leaving(self, sender: bytes, is_forward: "Callable[[], bool]") -> bytes:
        """Return the sender of a message that leaves this host.

        `is_forward()`: whether this host has forwarded it; asked only where it matters.
        """
        if b"@" not in sender:
            return sender
        now = int(self._clock())
        made = sender
        if self._is_own(sender):
            if self._batv and not srs.is_srs(sender):
                made = batv.sign_sender(sender, self._batv[0], now)
        elif self._srs and is_forward():
            try:
                made = srs.rewrite_sender(sender, self._domain, self._srs[0], now)
            except srs.InvalidSrs:
                return sender
        return made if len(made) <= MAX_ADDRESS else sender

    def returning(self, recipient: bytes, is_bounce: bool) -> bytes:
        """Return the address that a recipient stands for: itself, unless it was made by `leaving`.

        `is_bounce`: the sender is null.
        """
        now = int(self._clock())
        if self._srs and srs.is_srs(recipient) and self._has_own_domain(recipient):
            try:
                return srs.restore_sender(recipient, self._srs, now)
            except srs.InvalidSrs as error:
                raise InvalidReturnPath(str(error)) from error
        if not self._batv:
            return recipient
        if batv.is_signed(recipient):
            if not self._is_own(recipient.split(b"=", 2)[2]):
                return recipient
            try:
                return batv.restore_address(recipient, self._batv, now)
            except batv.InvalidBatv as error:
                raise InvalidReturnPath(str(error)) from error
        if self._refuses_unsigned and is_bounce and self._is_own(recipient):
            raise InvalidReturnPath("not signed")
        return recipient

    def _has_own_domain(self, recipient: bytes) -> bool:
        return table_key(recipient.rpartition(b"@")[2]) == table_key(self._domain)
