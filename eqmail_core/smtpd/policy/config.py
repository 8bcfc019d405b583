"""The settings by which mail is received by SMTP, shared by all conversations."""

from eqmail_core.smtpd.policy.patience import NO_DELAYS, Delays

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from eqmail_core.access.badmailfrom import BadSenders
    from eqmail_core.access.rcpthosts import RcptHosts
    from eqmail_core.smtpd.policy.dnsbl import DnsblConfig
    from eqmail_core.smtpd.policy.recipient_check import RecipientCheck
    from eqmail_core.smtpd.protocol.options import ServerOptions


class PolicyConfig:
    """What everybody goes by who is served on one port.

    `plugins` by section; None: no plugins at all.  `says_esmtp`: Received lines tell ESMTP after EHLO.
    `patience`: how clients are made to wait.  `tls_clients`: addresses in client certificates, in
    lower case, whose owners may relay.  `recipient_check`: which recipients are looked up before they are accepted.
    `block_lists`: lists in the DNS that count against clients.  `logs_all`: the log has more than that of C.
    """

    __slots__ = (
        "bad_senders",
        "delays",
        "dnsbl",
        "logs_all",
        "plugins",
        "recipient_check",
        "recipient_hosts",
        "rules",
        "says_esmtp",
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
        timeout: Delays = NO_DELAYS,
        recipient_check: "RecipientCheck | None" = None,
        block_lists: "DnsblConfig | None" = None,
        logs_all: bool = True,
    ) -> None:
        self.logs_all = logs_all
        self.rules = rules
        self.recipient_hosts = recipient_hosts
        self.bad_senders = bad_senders
        self.plugins = plugins
        self.says_esmtp = says_esmtp
        self.tls_clients = tls_clients
        self.delays = timeout
        self.recipient_check = recipient_check
        self.dnsbl = block_lists


def submission_ports(environ: "Mapping[bytes, bytes]") -> list[bytes]:
    """The ports on which MAIL needs authentication, by the environment of a server."""
    return environ.get(b"SUBMISSIONPORT", b"587").split()
