"""All replies of the SMTP server, worded as in C: code, text, enhanced status code.

A reply here is one line without its CRLF; a multi-line reply is a list of lines.

Source: smtp-server.md 4.2, 4.5, 4.6 (qmail-smtpd.c); RFC 5321 section 4.2, RFC 3463.
"""

OK = b"250 ok"
FLUSHED = b"250 flushed"
GO_AHEAD = b"354 go ahead"
VERIFY = b"252 send some mail, i'll try my best"
HELP = b"214 eQmail home page: http://openqmail.org"

TOO_MANY_ERRORS = b"421 too many errors (#4.7.0)"
TOO_MANY_COMMANDS = b"421 too many commands (#4.7.0)"
CHUNK_EXPECTED = b"503 BDAT first (#5.5.1)"
BAD_CHUNK = b"501 bad chunk (#5.5.4)"
UNRECOGNISED = b"500 unrecognised (#5.5.2)"
LINE_TOO_LONG = b"500 line too long (#5.5.2)"
MAIL_FIRST = b"503 MAIL first (#5.5.1)"
RECIPIENT_FIRST = b"503 RCPT first (#5.5.1)"
SYNTAX = b"555 syntax error (#5.5.4)"
NO_REQUIRETLS = b"550 sorry, REQUIRETLS is not offered here (#5.7.30)"
NEEDS_UTF8 = b"553 sorry, an address beyond ASCII needs SMTPUTF8 (#5.6.7)"
NO_UTF8 = b"553 sorry, that address is not UTF-8 (#5.1.3)"
NO_BINARY = b"555 sorry, I keep lines, not binary data: BINARYMIME is not offered (#5.6.1)"
BAD_PARAMETER = b"501 syntax error in parameters (#5.5.4)"
TOO_BIG = b"552 sorry, that message size exceeds my databytes limit (#5.3.4)"
HEADER_TOO_LONG = b"552 sorry, that header is too long (#5.3.4)"
NO_QUARANTINE = b"451 sorry, there is no place for quarantine (#4.3.5)"
LOOPING = b"554 too many hops, this message is looping (#5.4.6)"
BAD_SENDER = b"553 sorry, your envelope sender is in my badmailfrom list (#5.7.1)"
NOT_YOUR_SENDER = b"553 sorry, your login may not use that envelope sender (#5.7.1)"
NOT_YOUR_FROM = b"554 sorry, your login may not use that From address (#5.7.1)"
NO_RELAY = b"553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"
UNAUTHENTICATED_NOW = b"451 sorry, that message cannot be authenticated now (#4.7.5)"
GREYLISTED = b"451 this sender is not known here yet, please try again in a few minutes (#4.7.1)"
NO_MAILBOX = b"550 sorry, no mailbox here by that name (#5.1.1)"
MAILBOX_AWAY = b"451 sorry, that mailbox cannot be looked up now (#4.3.0)"
TOO_MANY_RECIPIENTS = b"452 too many recipients (#4.5.3)"
# The trailing space is C's.
AUTHORIZATION_REQUIRED = b"530 Authorization required (#5.7.1) "

NO_PARAMETERS = b"501 Syntax error (no parameters allowed) (#5.5.4)"
NO_CERTIFICATE = b"454 TLS missing certificate (#4.3.0)"
READY_FOR_TLS = b"220 ready for tls"
TLS_ALREADY = b"502 unimplemented (#5.5.1)"
BYTES_BEHIND_STARTTLS = b"554 nothing may follow STARTTLS (#5.5.1)"

BARE_NEWLINE = b"451 a line of the message ends in LF alone, and not in CRLF; see RFC 5321 section 2.3.8 (#4.5.2)"
BARE_NEWLINE_AS_C = b"451 See http://pobox.com/~djb/docs/smtplf.html."
TIMEOUT = b"451 timeout (#4.4.2)"
NO_QUEUE = b"451 qqt failure (#4.3.0)"
NO_CONTROLS = b"421 unable to read controls (#4.3.0)"
TALKED_EARLY = b"554 wait for my greeting (#5.5.1)"
BUSY_WITH_YOU = b"421 too many connections from your address (#4.7.0)"
BUSY = b"421 too many connections (#4.3.2)"
SHUTTING_DOWN = b"421 shutting down (#4.3.2)"

AUTH_NEEDS_TLS = b"538 AUTH PLAIN/LOGIN not available without TLS (#5.3.3)"
AUTH_NOT_AVAILABLE = b"503 auth not available (#5.3.3)"
AUTH_TWICE = b"503 you're already authenticated (#5.5.0)"
AUTH_IN_TRANSACTION = b"503 no auth during mail transaction (#5.5.0)"
AUTH_UNIMPLEMENTED = b"504 auth type unimplemented (#5.5.1)"
AUTH_CANCELED = b"501 auth exchange canceled (#5.0.0)"
AUTH_MALFORMED = b"501 malformed auth input (#5.5.4)"
AUTH_FAILED = b"535 authentication failed (#5.7.1)"
AUTH_CHILD_PROBLEM = b"454 oops, problem with child and I can't auth (#4.3.0)"
AUTH_NO_CHILD = b"454 oops, child won't start and I can't auth (#4.3.0)"
AUTH_NO_PIPE = b"454 oops, unable to open pipe and I can't auth (#4.3.0)"
AUTH_NO_WRITE = b"454 oops, unable to write pipe and I can't auth (#4.3.0)"


def not_returnable(reason: str) -> bytes:
    """A bounce to a sender that this host has not made, or not lately."""
    return b"550 sorry, no mail was sent from that address (%b) (#5.7.1)" % reason.encode()


def unauthenticated(domain: bytes) -> bytes:
    """A message that fails the policy of its author's domain."""
    return b"550 sorry, %b asks to reject mail that it does not authenticate (DMARC p=reject) (#5.7.1)" % domain


def with_status(line: bytes) -> bytes:
    """Convert a line to the form of RFC 2034: the status before the text.

    A line without a status gets a generic one.
    """
    kind = line[:1]
    if kind not in (b"2", b"4", b"5"):
        return line
    code, text = line[:4], line[4:].rstrip(b" ")
    if is_status(text.partition(b" ")[0], kind):
        return line
    words, _, status = text.rpartition(b" (#")
    if is_status(status[:-1], kind) and status.endswith(b")"):
        return b"%b%b %b" % (code, status[:-1], words)
    return b"%b%b.0.0 %b" % (code, kind, text)


def is_status(word: bytes, kind: bytes) -> bool:
    """Whether a word is an enhanced status code (RFC 3463) for a reply of class `kind`."""
    parts = word.split(b".")
    return len(parts) == 3 and parts[0] == kind and all(part.isdigit() and len(part) < 4 for part in parts)


def banner(greeting: bytes) -> bytes:
    """Return the first line of a session."""
    return b"220 %b ESMTP" % greeting


def hello(greeting: bytes) -> bytes:
    """Return the reply to HELO."""
    return b"250 " + greeting


def closing(greeting: bytes) -> bytes:
    """Return the reply to QUIT."""
    return b"221 " + greeting


def multiline(code: bytes, texts: list[bytes]) -> list[bytes]:
    """Build a multi-line reply: a hyphen after the code in all lines but the last."""
    return [code + b"-" + text for text in texts[:-1]] + [code + b" " + texts[-1]]


def queued(now: int, qp: int) -> bytes:
    """Return the reply to a queued message: Unix time, and the process or message number."""
    return b"250 ok %d qp %d" % (now, qp)


def not_queued(text: bytes) -> bytes:
    """Return the reply to a refused message.

    `text` begins with an outcome letter, see `exit_codes.explain`.
    """
    return (b"554 " if text[:1] == b"D" else b"451 ") + text[1:]


def authenticated(user: bytes) -> bytes:
    """Return the reply to accepted credentials."""
    return b"235 ok, %b, go ahead (#2.0.0)" % user


def tls_problem(what: bytes) -> bytes:
    """Return the reply to STARTTLS if TLS cannot begin."""
    return b"454 TLS %b (#4.3.0)" % what


def tls_failed(reason: bytes) -> bytes:
    """Return the last line of a session whose TLS handshake failed."""
    return b"454 TLS connection failed: %b (#4.3.0)" % reason


def no_relay_by_certificate(reason: bytes) -> bytes:
    """Return `NO_RELAY` under TLS.

    `reason`: why the certificate did not help, b"" for none.
    """
    text, _, status = NO_RELAY.rpartition(b" ")
    return b"%b; no valid cert for gatewaying%b %b" % (text, b": " + reason if reason else b"", status)


def listed(ip: bytes, zone: bytes, text: bytes) -> bytes:
    """Return the reply to a client listed in a DNSBL; `text` b"": the default wording."""
    return b"554 %b (#5.7.1)" % (text or b"sorry, your address %b is listed at %b" % (ip, zone))


def plugin_failure(plugin: bytes, reason: bytes) -> bytes:
    """Return the reply to a command whose plugin could not be run."""
    return b"451 qmail-spp failure: %b: %b (#4.3.0)" % (plugin, reason)
