"""The settings an SMTP session needs, and the EHLO reply made from them.

Source: smtp-server.md 4.2 (EHLO); RFC 5321 section 4.1.1.1, RFC 2034, RFC 3030 (CHUNKING), RFC 9422 (LIMITS).
"""

from eqmail_core.auth.credentials import CRAM_MD5, SCRAM, SCRAM_PLUS
from eqmail_core.dsn.smtp_parameters import BadParameter, read_mail, read_recipient
from eqmail_core.smtp.path import address_literal, parse_parameters, split_path
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.events import Mail, Recipient
from eqmail_core.text.sanitize import is_plain, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SENDS_NO_PASSWORD = (CRAM_MD5, SCRAM)

# A message whose lines do not end in CRLF would not leave the queue unchanged (RFC 3030 section 3).
_BINARY = b"BODY=BINARYMIME"


class ServerOptions:
    """Settings of an SMTP session; shared by all sessions of a server.  0 means no limit.

    `size_limit`: bytes; `max_recipients`: per message.
    `max_errors`, `max_commands` (those that carry no message): per session.
    `auth_methods`: AUTH methods that can be verified; `auth_needs_tls`: no password without TLS.
    `mail_needs_auth`: a submission port.  `offers_tls`: STARTTLS; `offers_chunks`: BDAT.
    `offers_notify`: DSN (RFC 3461); `offers_utf8`: SMTPUTF8; `offers_requiretls`: REQUIRETLS under TLS.
    `enhanced_status_codes`: replies as in RFC 2034.
    `bare_newline`: the reply to an LF without CR in a message.
    `local_ip_host` replaces [IP] in an address where `is_own_address(IP)`; None: no replacement.
    """

    __slots__ = (
        "auth_methods",
        "auth_needs_tls",
        "bare_newline",
        "enhanced_status_codes",
        "greeting",
        "is_own_address",
        "local_ip_host",
        "mail_needs_auth",
        "max_commands",
        "max_errors",
        "max_recipients",
        "offers_chunks",
        "offers_dsn",
        "offers_requiretls",
        "offers_tls",
        "offers_utf8",
        "size_limit",
    )

    def __init__(
        self,
        greeting: bytes,
        size_limit: int = 0,
        max_recipients: int = 0,
        auth_methods: tuple[bytes, ...] = (),
        auth_needs_tls: bool = False,
        mail_needs_auth: bool = False,
        local_ip_host: bytes | None = None,
        is_own_address: "Callable[[bytes], bool]" = lambda address: False,
        offers_tls: bool = False,
        offers_chunks: bool = False,
        enhanced_status_codes: bool = False,
        max_errors: int = 0,
        max_commands: int = 0,
        offers_notify: bool = False,
        offers_utf8: bool = False,
        offers_requiretls: bool = False,
        bare_newline: bytes = reply.BARE_NEWLINE,
    ) -> None:
        self.bare_newline = bare_newline
        self.greeting = greeting
        self.size_limit = size_limit
        self.max_recipients = max_recipients
        self.auth_methods = auth_methods
        self.auth_needs_tls = auth_needs_tls
        self.mail_needs_auth = mail_needs_auth
        self.local_ip_host = local_ip_host
        self.is_own_address = is_own_address
        self.offers_tls = offers_tls
        self.offers_chunks = offers_chunks
        self.enhanced_status_codes = enhanced_status_codes
        self.max_errors = max_errors
        self.max_commands = max_commands
        self.offers_dsn = offers_notify
        self.offers_utf8 = offers_utf8
        self.offers_requiretls = offers_requiretls

    @property
    def host_name(self) -> bytes:
        """The name of this host, with which the greeting begins."""
        return self.greeting.partition(b" ")[0]

    def is_too_open(self, method: bytes, is_secure: bool) -> bool:
        """Whether an AUTH method would expose a password that must be protected by TLS."""
        return self.auth_needs_tls and not is_secure and method not in _SENDS_NO_PASSWORD

    def offers_auth(self, method: bytes, is_secure: bool) -> bool:
        """Whether a client may use an AUTH method now."""
        return method in self.auth_methods and (is_secure or method != SCRAM_PLUS)

    def auth_objection(
        self, method: bytes, is_secure: bool, is_authenticated: bool, in_transaction: bool
    ) -> bytes | None:
        """Return the reply that refuses AUTH with this lower-case method now; None if it may begin."""
        if self.is_too_open(method, is_secure):
            return reply.AUTH_NEEDS_TLS
        if not self.auth_methods:
            return reply.AUTH_NOT_AVAILABLE
        if is_authenticated:
            return reply.AUTH_TWICE
        if in_transaction:
            return reply.AUTH_IN_TRANSACTION
        return None if self.offers_auth(method, is_secure) else reply.AUTH_UNIMPLEMENTED

    def read_address(self, argument: bytes) -> tuple[bytes | None, bytes]:
        """Parse the argument of MAIL or RCPT to the address (None if invalid) and the text after it."""
        address, behind = split_path(argument)
        if address is None or not is_plain(address):
            return None, b""
        name = self.local_ip_host
        if name is not None and address.endswith(b"]"):
            literal = address_literal(address)
            if literal is not None and self.is_own_address(literal):
                address = address[: address.rindex(b"@") + 1] + name
        return address, behind

    def objection(self, address: bytes, is_utf8: bool) -> bytes | None:
        """Return the reply to an invalid non-ASCII address, or None.  Without SMTPUTF8, behave as C.

        `is_utf8`: MAIL announced SMTPUTF8.  Source: RFC 6531 sections 3.3, 3.5.
        """
        if address.isascii() or not self.offers_utf8:
            return None
        if not is_utf8:
            return reply.NEEDS_UTF8
        try:
            address.decode("utf-8")
        except UnicodeDecodeError:
            return reply.NO_UTF8
        return None

    def mail(self, address: bytes, behind: bytes, argument: bytes, is_secure: bool = False) -> Mail | bytes:
        """Build the Mail event from the address and the text after it, or return the refusal.

        `is_secure`: under TLS.  A message that demands what was not offered is refused, never sent on without it.
        """
        if b" " not in argument:
            return self.objection(address, False) or Mail(address, None)
        size, identity = parse_parameters(plain(argument))
        if size is not None and 0 < self.size_limit < size:
            return reply.TOO_BIG
        parameters = plain(behind).split()
        if any(word.upper() == _BINARY for word in parameters):
            return reply.NO_BINARY
        try:
            dsn = read_mail(behind, self.offers_dsn, self.offers_utf8, reads_requiretls=True)
        except BadParameter:
            return reply.BAD_PARAMETER
        if dsn is not None and dsn.requires_tls and not (self.offers_requiretls and is_secure):
            return reply.NO_REQUIRETLS
        is_utf8 = dsn is not None and dsn.is_utf8
        return self.objection(address, is_utf8) or Mail(address, identity, dsn, parameters)

    def recipient(self, address: bytes, behind: bytes, is_utf8: bool) -> Recipient | bytes:
        """Build the Recipient event from the address and the text after it, or return the refusal."""
        try:
            dsn = read_recipient(behind) if behind and self.offers_dsn else None
        except BadParameter:
            return reply.BAD_PARAMETER
        return self.objection(address, is_utf8) or Recipient(address, dsn, plain(behind).split() if behind else ())

    def hello(self, extended: bool, is_secure: bool) -> list[bytes]:
        """Return the reply to HELO, or to EHLO if `extended`."""
        if not extended:
            return [reply.hello(self.greeting)]
        texts = [self.greeting]
        if self.offers_tls and not is_secure:
            texts.append(b"STARTTLS")
        texts += (b"PIPELINING", b"8BITMIME", b"SIZE %d" % self.size_limit)
        if self.enhanced_status_codes:
            texts.append(b"ENHANCEDSTATUSCODES")
        if self.offers_dsn:
            texts.append(b"DSN")
        if self.offers_utf8:
            texts.append(b"SMTPUTF8")
        if self.offers_requiretls and is_secure:
            texts.append(b"REQUIRETLS")
        if self.offers_chunks:
            texts.append(b"CHUNKING")
        if self.max_recipients:
            texts.append(b"LIMITS RCPTMAX=%d" % self.max_recipients)
        methods = [
            method
            for method in self.auth_methods
            if self.offers_auth(method, is_secure) and not self.is_too_open(method, is_secure)
        ]
        if methods:
            texts.append(b"AUTH " + b" ".join(methods).upper())
        return reply.multiline(b"250", texts)
