"""What an SMTP conversation must know of the settings, and what it tells of them.

Source: smtp-server.md 4.2 (EHLO); RFC 5321 section 4.1.1.1, RFC 2034, RFC 3030 (CHUNKING), RFC 9422 (LIMITS).
"""

from eqmail_core.protocols.auth import CRAM_MD5
from eqmail_core.values import reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Rules:
    """What a conversation must know of the settings; shared by all conversations of a server.

    `size_limit` in bytes; `max_recipients` in a message, `max_errors` and `max_commands` (those that carry no message)
    in a conversation; 0: no limit.  `auth_methods`: those of AUTH that somebody can check; `auth_needs_tls`: only
    CRAM-MD5 without TLS; `offers_tls`: STARTTLS; `offers_chunks`: BDAT; `offers_news`: DSN (RFC 3461); `offers_utf8`:
    SMTPUTF8; `mail_needs_auth`: a submission port; `puts_status`: replies as in RFC 2034.  `local_ip_host` replaces
    [IP] in an address where `is_own_address(IP)`; None: no replacing.
    """

    __slots__ = (
        "auth_methods",
        "auth_needs_tls",
        "greeting",
        "is_own_address",
        "local_ip_host",
        "mail_needs_auth",
        "max_commands",
        "max_errors",
        "max_recipients",
        "offers_chunks",
        "offers_news",
        "offers_tls",
        "offers_utf8",
        "puts_status",
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
        puts_status: bool = False,
        max_errors: int = 0,
        max_commands: int = 0,
        offers_news: bool = False,
        offers_utf8: bool = False,
    ) -> None:
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
        self.puts_status = puts_status
        self.max_errors = max_errors
        self.max_commands = max_commands
        self.offers_news = offers_news
        self.offers_utf8 = offers_utf8

    def is_too_open(self, method: bytes, is_secure: bool) -> bool:
        """Tell whether a method of AUTH would show a password that has to be hidden by TLS."""
        return self.auth_needs_tls and not is_secure and method != CRAM_MD5

    def hello(self, extended: bool, is_secure: bool) -> list[bytes]:
        """The answer to HELO, or to EHLO if `extended`."""
        if not extended:
            return [reply.hello(self.greeting)]
        texts = [self.greeting]
        if self.offers_tls and not is_secure:
            texts.append(b"STARTTLS")
        texts += (b"PIPELINING", b"8BITMIME", b"SIZE %d" % self.size_limit)
        if self.puts_status:
            texts.append(b"ENHANCEDSTATUSCODES")
        if self.offers_news:
            texts.append(b"DSN")
        if self.offers_utf8:
            texts.append(b"SMTPUTF8")
        if self.offers_chunks:
            texts.append(b"CHUNKING")
        if self.max_recipients:
            texts.append(b"LIMITS RCPTMAX=%d" % self.max_recipients)
        methods = [method for method in self.auth_methods if not self.is_too_open(method, is_secure)]
        if methods:
            texts.append(b"AUTH " + b" ".join(methods).upper())
        return reply.multiline(b"250", texts)
