"""Who the client of one session is, and what it may do.

The environment is read once, when the session begins.  Decisions use the values here and never a variable; the
environment of a program that is executed for the client is rendered from them.

Source: smtp-server.md 4.2, 4.4 (received.c), 4.8 (variables of plugins); RFC 3848, RFC 6531 section 4.3.
"""

from eqmail_core.dsn.submitter import submitter_words
from eqmail_core.mail.received import received_by, received_from
from eqmail_core.outcome import SUBMITTER_VARIABLE
from eqmail_core.smtpd.policy.config import DELAY_VARIABLES, NO_DELAYS, Delays

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from eqmail_core.auth.credentials import Credentials
    from eqmail_core.tls.session_info import TlsSessionInfo

    ClientState = tuple[dict[bytes, bytes | None], bytes | None, bytes | None, Delays]

_UNKNOWN = b"unknown"
_USER = b"TCPREMOTEINFO"

# The rights that a variable gives while it is set, whatever its value.
_RIGHTS = {b"RELAYCLIENT": "relay_suffix", b"NODNSBL": "dnsbl_exemption"}


class ClientAuthority:
    """The client of one session.

    Identity: `remote_host`, its name as far as known; `remote_ip`, `remote_port`; where it connected to: `local_ip`,
    `local_port`, `local_name`; `remote_info`: its user from IDENT or AUTH; `login`: its user from AUTH, or None;
    `tls_session` None: plain text; `vouched_for`: the address in the certificate that allowed it to relay.
    Rights: `relay_suffix` None: it may not relay, else the text appended to its recipients; `dnsbl_exemption` None:
    lists in the DNS apply; `delays`: of its greeting and recipients; `queue_program`: takes its messages, or None;
    `has_milters`: milters see it.
    `is_utf8`: the current message needs SMTPUTF8.
    """

    __slots__ = (
        "_changes",
        "_default_delays",
        "_environ",
        "_helo",
        "_protocol",
        "_received_from",
        "delays",
        "dnsbl_exemption",
        "has_milters",
        "is_utf8",
        "local_ip",
        "local_name",
        "local_port",
        "login",
        "queue_program",
        "relay_suffix",
        "remote_host",
        "remote_info",
        "remote_ip",
        "remote_port",
        "tls_session",
        "vouched_for",
    )

    def __init__(self, environ: "Mapping[bytes, bytes]", delays: Delays = NO_DELAYS) -> None:
        self.remote_host = environ.get(b"TCPREMOTEHOST", _UNKNOWN)
        self.remote_ip = environ.get(b"TCPREMOTEIP", _UNKNOWN)
        self.remote_port = environ.get(b"TCPREMOTEPORT", b"")
        self.remote_info = environ.get(_USER)
        self.local_ip = environ.get(b"TCPLOCALIP", b"")
        self.local_port = environ.get(b"TCPLOCALPORT", b"")
        self.local_name = environ.get(b"TCPLOCALHOST") or self.local_ip or _UNKNOWN
        self._helo: bytes | None = None
        # The first Received line, as long as the client introduces itself alike.
        self._received_from: bytes | None = None
        self._protocol = b"SMTP"
        self.login: bytes | None = None
        self.tls_session: TlsSessionInfo | None = None
        self.vouched_for: bytes | None = None
        self.is_utf8 = False
        self.queue_program = environ.get(b"QMAILQUEUE")
        self.has_milters = b"NOMILTER" not in environ
        self.relay_suffix = environ.get(b"RELAYCLIENT")
        self.dnsbl_exemption = environ.get(b"NODNSBL")
        # What programs see beside the rights: the environment as it was, and what changed since; None: removed.
        self._environ = environ
        self._changes: dict[bytes, bytes | None] = {}
        self._default_delays = delays
        self.delays = delays.overridden_by(environ)

    # --- rights

    @property
    def may_relay(self) -> bool:
        """Whether it may send mail to any domain."""
        return self.relay_suffix is not None

    @property
    def is_exempt_from_dnsbl(self) -> bool:
        """Whether lists in the DNS do not count against it."""
        return self.relay_suffix is not None or self.dnsbl_exemption is not None

    @property
    def greeting_delay_s(self) -> int:
        """The delay before its greeting in seconds; none for a client that may relay, or that began with TLS."""
        return 0 if self.relay_suffix is not None or self.tls_session is not None else self.delays.greet_s

    def recipient_delay_s(self, count: int) -> int:
        """Return the delay before the reply to recipient number `count`, in seconds."""
        delays = self.delays
        return delays.tarpit_s if 0 < delays.tarpit_count < count and self.relay_suffix is None else 0

    def grant_relay(self) -> None:
        """Let it relay, unless it may already."""
        if self.relay_suffix is None:
            self.relay_suffix = b""

    # --- what it does

    def tls_started(self, tls_session: "TlsSessionInfo") -> None:
        """Record TLS; discard what the client said before it."""
        self.tls_session = tls_session
        self.remote_info = self._changes.get(_USER, self._environ.get(_USER))
        self.login = self._helo = self._received_from = None

    def hello(self, name: bytes) -> None:
        """Record the name in HELO or EHLO, accepted or not."""
        self._changes[b"SMTPHELOHOST"] = name

    @property
    def helo_name(self) -> bytes:
        """The name in its last HELO or EHLO; b"" before."""
        return self._changes.get(b"SMTPHELOHOST") or b""

    def hello_accepted(self, name: bytes, protocol: bytes) -> None:
        """Record the name and the protocol for the Received line."""
        self._helo = name if name.lower() != self.remote_host.lower() else None
        self._protocol = protocol
        self._received_from = None

    def logged_in(self, credentials: "Credentials") -> None:
        """Record accepted credentials: it may relay."""
        self.login = self.remote_info = self._changes[_USER] = credentials.user
        self.relay_suffix = b""
        self._received_from = None

    def received(self, date: bytes) -> bytes:
        """Build the Received line; `date` as in `date822`."""
        line = self._received_from
        if line is None:
            line = received_from(self.remote_host, self.remote_ip, self.remote_info, self._helo)
            self._received_from = line
        return line + b"\n" + received_by(self.local_name, self._protocol_name(), date)

    def _protocol_name(self) -> bytes:
        if self.tls_session is not None:
            text = self.tls_session.received_with(self.login is not None, self.vouched_for)
        else:
            text = self._protocol if self.login is None else b"ESMTPA"
        # UTF8SMTPSA and similar, RFC 6531 section 4.3.
        return b"UTF8" + text.removeprefix(b"E") if self.is_utf8 else text

    # --- before and after

    def state(self) -> "ClientState":
        """Return its variables and rights as they are now."""
        return dict(self._changes), self.relay_suffix, self.dnsbl_exemption, self.delays

    def restore(self, state: "ClientState") -> None:
        """Return to the variables and rights of an earlier moment."""
        changes, self.relay_suffix, self.dnsbl_exemption, self.delays = state
        self._changes = dict(changes)

    def submitter_words(self) -> bytes:
        """Return who submits mail, as the queue service is told; b"" for a client that may not relay."""
        if self.relay_suffix is None:
            return b""
        return submitter_words(self.login, b"" if self.remote_ip == _UNKNOWN else self.remote_ip)

    # --- the environment of programs

    def environ(self) -> dict[bytes, bytes]:
        """Render the environment of a program that is executed for this client."""
        rights = {name: getattr(self, right) for name, right in _RIGHTS.items()}
        now = {**self._environ, **self._changes, **rights}
        return {name: value for name, value in now.items() if value is not None}

    def queue_environ(self) -> dict[bytes, bytes]:
        """Render the environment of a program that queues, which says who submits."""
        return {**self.environ(), SUBMITTER_VARIABLE: self.submitter_words()}

    def set_variable(self, name: bytes, value: bytes) -> None:
        """Set a variable for programs, and the right that it gives."""
        if name in _RIGHTS:
            setattr(self, _RIGHTS[name], value)
            return
        self._changes[name] = value
        if name in DELAY_VARIABLES:
            self.delays = self._default_delays.overridden_by(self.environ())

    def unset_variable(self, name: bytes) -> None:
        """Remove a variable, and the right that it gave."""
        if name in _RIGHTS:
            setattr(self, _RIGHTS[name], None)
            return
        self._changes[name] = None
        if name in DELAY_VARIABLES:
            self.delays = self._default_delays.overridden_by(self.environ())
