"""The settings of the SMTP policy, shared by all sessions, and the delays of replies."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from eqmail_core.access.badmailfrom import BadSenders
    from eqmail_core.access.rcpthosts import RcptHosts
    from eqmail_core.control.sender_logins import SenderLogins
    from eqmail_core.mail_auth.return_path import ReturnPaths
    from eqmail_core.smtpd.policy.dnsbl import DnsblConfig
    from eqmail_core.smtpd.policy.greylisting import Greylist
    from eqmail_core.smtpd.policy.message_authentication import AuthCheckConfig
    from eqmail_core.smtpd.policy.recipient_lookup import RecipientCheck
    from eqmail_core.smtpd.protocol.options import ServerOptions


_LONGEST_S = 3600

# A value with more digits is invalid, and the setting applies.
_MAX_DIGITS = 9


class Delays:
    """The delays of the greeting and of recipients beyond a number (0: no delay), in seconds.

    The variables GREETDELAY, TARPITCOUNT and TARPITDELAY of a client override these.  The maximum is one hour.
    """

    __slots__ = ("greet_s", "tarpit_count", "tarpit_s")

    def __init__(self, greet_s: int = 0, tarpit_count: int = 0, tarpit_s: int = 0) -> None:
        self.greet_s = min(greet_s, _LONGEST_S)
        self.tarpit_count = tarpit_count
        self.tarpit_s = min(tarpit_s, _LONGEST_S)

    def overridden_by(self, environ: "Mapping[bytes, bytes]") -> "Delays":
        """Return the delays for a client with these variables."""
        if DELAY_VARIABLES.isdisjoint(environ):
            return self
        own = (environ.get(b"GREETDELAY", b""), environ.get(b"TARPITCOUNT", b""), environ.get(b"TARPITDELAY", b""))
        defaults = (self.greet_s, self.tarpit_count, self.tarpit_s)
        return Delays(*[_number(text, number) for text, number in zip(own, defaults, strict=True)])


NO_DELAYS = Delays()
"""No delays."""

SUBMISSION_PORT = b"SUBMISSIONPORT"
"""The variable with the ports on which MAIL needs a login."""

DELAY_VARIABLES = frozenset((b"GREETDELAY", b"TARPITCOUNT", b"TARPITDELAY"))
"""The variables that override the delays for a client."""


def _number(text: bytes, default: int) -> int:
    return int(text) if text.isdigit() and len(text) <= _MAX_DIGITS else default


class PolicyConfig:
    """The settings of all sessions on one port.

    `plugins`: by section; None: no plugins.  `says_esmtp`: Received lines say ESMTP after EHLO.
    `delays`: of greetings and recipients.  `tls_clients`: addresses in client certificates, in lower case, whose owners
    may relay.  `recipient_check`: recipients to look up before they are accepted.
    `auth_check`: how messages are authenticated; None: not at all.
    `dnsbl`: DNS lists that count against clients.  `logs_all`: log more than C does.
    `return_paths`: what bounces to rewritten senders are for; None: no sender is rewritten.
    `sender_logins`: which senders a login may use; None: all.  `greylist`: defers senders that are not known.
    """

    __slots__ = (
        "auth_check",
        "bad_senders",
        "delays",
        "dnsbl",
        "greylist",
        "logs_all",
        "plugins",
        "recipient_check",
        "recipient_hosts",
        "return_paths",
        "rules",
        "says_esmtp",
        "sender_logins",
        "tls_clients",
    )

    def __init__(
        self,
        rules: "ServerOptions",
        recipient_hosts: "RcptHosts",
        bad_senders: "BadSenders",
        plugins: dict[bytes, list[bytes]] | None = None,
        says_esmtp: bool = True,
        tls_clients: "frozenset[bytes]" = frozenset(),
        delays: Delays = NO_DELAYS,
        recipient_check: "RecipientCheck | None" = None,
        dnsbl: "DnsblConfig | None" = None,
        logs_all: bool = True,
        auth_check: "AuthCheckConfig | None" = None,
        return_paths: "ReturnPaths | None" = None,
        sender_logins: "SenderLogins | None" = None,
        greylist: "Greylist | None" = None,
    ) -> None:
        self.greylist = greylist
        self.sender_logins = sender_logins
        self.return_paths = return_paths
        self.logs_all = logs_all
        self.auth_check = auth_check
        self.rules = rules
        self.recipient_hosts = recipient_hosts
        self.bad_senders = bad_senders
        self.plugins = plugins
        self.says_esmtp = says_esmtp
        self.tls_clients = tls_clients
        self.delays = delays
        self.recipient_check = recipient_check
        self.dnsbl = dnsbl


def submission_ports(environ: "Mapping[bytes, bytes]") -> list[bytes]:
    """Return the ports on which MAIL needs authentication, from the server's environment."""
    return environ.get(SUBMISSION_PORT, b"587").split()
