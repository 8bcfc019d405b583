"""TLS policy of the SMTP client for each server, and the check of certificate names.

Fails: never by itself; exceptions of `exists` pass through.
Source: delivery.md 5.6 (TLS client); RFC 3207; RFC 8314 (port 465).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eqmail_core.dns.query import TlsaRecord


PLAIN_TEXT = b"plain"
OPPORTUNISTIC = b"opportunistic"
ENCRYPTED = b"encrypted"
VERIFIED = b"verified"
STS = b"sts"
DANE = b"dane"
AUTHORITIES = b"authorities"

_REQUIRED = frozenset((ENCRYPTED, VERIFIED, STS, DANE, AUTHORITIES))


class TlsPolicy:
    """Whether TLS is used if the server offers it, whether it is required, and what proves the server.

    `demanded_by`: the file of the authorities that must have signed the server's certificate; b"" for none.
    `is_implicit`: TLS begins before the greeting. `level`: one of the words above; `why`: its cause, for people.
    `tlsa`: the usable TLSA records, one of which the server must match, under one of `names`; the first of these is
    the server name that the handshake asks for. `has_public_roots`: an authority of the system must vouch for it.
    """

    __slots__ = ("demanded_by", "has_public_roots", "is_implicit", "is_wanted", "level", "names", "tlsa", "why")

    def __init__(
        self,
        is_wanted: bool,
        demanded_by: bytes = b"",
        is_implicit: bool = False,
        level: bytes = b"",
        why: bytes = b"",
        tlsa: "tuple[TlsaRecord, ...]" = (),
        names: tuple[bytes, ...] = (),
        has_public_roots: bool = False,
    ) -> None:
        self.is_wanted = is_wanted
        self.demanded_by = demanded_by
        self.is_implicit = is_implicit
        usual = AUTHORITIES if demanded_by else ENCRYPTED if is_implicit else OPPORTUNISTIC if is_wanted else PLAIN_TEXT
        self.level = level or usual
        self.why = why
        self.tlsa = tlsa
        self.names = names
        self.has_public_roots = has_public_roots

    @property
    def may_be_plain(self) -> bool:
        """Whether mail may be sent without TLS."""
        return self.level not in _REQUIRED

    @property
    def proves_server(self) -> bool:
        """Whether a server must have proved its name."""
        return bool(self.demanded_by or self.tlsa or self.has_public_roots)

    @property
    def demand(self) -> bytes:
        """What requires TLS in a session that began without, b"" if nothing does; follows the word `while`."""
        if self.demanded_by:
            return self.demanded_by + b" exists"
        return self.why and b"required by " + self.why if not self.may_be_plain else b""

    @property
    def may_try_next(self) -> bool:
        """Whether another server of the domain may be tried where this one is not good enough."""
        return not (self.may_be_plain or self.demanded_by or not self.why)

    def key(self, host: bytes) -> tuple[object, ...]:
        """Return what two sessions with one address must have in common, to stand for each other.

        A server that had to prove its name has proved no other.
        """
        name = host if self.proves_server else b""
        return self.level, self.is_wanted, self.demanded_by, self.has_public_roots, self.names, self.tlsa, name

    def with_reason(self, why: bytes) -> "TlsPolicy":
        """Return the same policy with another reason."""
        return TlsPolicy(self.is_wanted, self.demanded_by, self.is_implicit, self.level, why)


PLAIN = TlsPolicy(False)
IF_OFFERED = TlsPolicy(True)


IMPLICIT_TLS_PORT = 465

_SAFE = bytes(byte if 33 <= byte <= 126 else 63 for byte in range(256))


class ClientTlsFiles:
    """Paths of the policy: the directories `demanded` and `plain`, and the file `only_listed`."""

    __slots__ = ("demanded", "only_listed", "plain")

    def __init__(self, demanded: bytes, plain: bytes, only_listed: bytes) -> None:
        self.demanded = demanded
        self.plain = plain
        self.only_listed = only_listed


def tls_policy(host: bytes, is_implicit: bool, files: ClientTlsFiles, exists: "Callable[[bytes], bool]") -> TlsPolicy:
    """Return the policy for the server `host`; `exists` tests whether a file exists.

    The first rule that applies counts: a certificate file of the host requires TLS; an implicit TLS port has it; the
    two lists of exceptions forbid it.
    """
    name = _file_name(host)
    if name:
        path = b"%b/%b.pem" % (files.demanded, name)
        if exists(path):
            return TlsPolicy(True, path, is_implicit)
    if is_implicit:
        return TlsPolicy(True, b"", True)
    if name and exists(b"%b/%b" % (files.plain, name)):
        return PLAIN
    return PLAIN if exists(files.only_listed) else IF_OFFERED


def name_rejection_reason(host: bytes, alternatives: "Sequence[str]", common_name: str | None) -> bytes:
    """Return the reason why a certificate does not match `host`; b"" if it does.

    `alternatives`: its dNSNames, which decide alone if there are any.
    """
    if alternatives:
        # C's misspelling, which analysers of reports match.
        return b"" if any(_covers(it, host) for it in alternatives) else b"certificate contains no matching dNSNnames"
    if common_name is None:
        return b"certificate contains no valid commonName"
    if _covers(common_name, host):
        return b""
    return b"received certificate for " + common_name.encode("utf-8", "replace").translate(_SAFE)


def _covers(pattern: str, host: bytes) -> bool:
    """Return whether a certificate name matches a host: it is equal, or *.DOMAIN of the host."""
    given = pattern.lower().encode("utf-8", "replace")
    name = host.lower().rstrip(b".")
    domain = name.partition(b".")[2]
    return given == name or (domain != b"" and given == b"*." + domain)


def _file_name(host: bytes) -> bytes:
    """Return the file name for a host; b"" if the host cannot be a file name."""
    name = host.lower().rstrip(b".")
    return b"" if b"/" in name or b"\0" in name or len(name) > 250 else name
