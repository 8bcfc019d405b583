"""To which servers TLS is spoken, and whether a certificate is the right one.

Fails: never by itself; what `exists` raises passes through.
Source: delivery.md 5.6 (TLS client); RFC 3207; RFC 8314 (port 465).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class TlsPolicy:
    """Whether TLS is tried where it is offered, and what demands it, if anything does.

    `demanded_by`: the file with the authorities that must vouch for the server, b"" where any certificate will do and
    plain text too; `is_implicit`: TLS begins before the greeting.
    """

    __slots__ = ("demanded_by", "is_implicit", "is_wanted")

    def __init__(self, is_wanted: bool, demanded_by: bytes = b"", is_implicit: bool = False) -> None:
        self.is_wanted = is_wanted
        self.demanded_by = demanded_by
        self.is_implicit = is_implicit

    @property
    def may_be_plain(self) -> bool:
        """Whether mail may go without TLS."""
        return not (self.demanded_by or self.is_implicit)


PLAIN = TlsPolicy(False)
IF_OFFERED = TlsPolicy(True)


IMPLICIT_TLS_PORT = 465

_SAFE = bytes(byte if 33 <= byte <= 126 else 63 for byte in range(256))


class ClientTlsFiles:
    """Where it is written: the folders `demanded` and `plain`, and the file `only_listed`."""

    __slots__ = ("demanded", "only_listed", "plain")

    def __init__(self, demanded: bytes, plain: bytes, only_listed: bytes) -> None:
        self.demanded = demanded
        self.plain = plain
        self.only_listed = only_listed


def tls_policy(host: bytes, is_implicit: bool, files: ClientTlsFiles, exists: "Callable[[bytes], bool]") -> TlsPolicy:
    """Choose for a server named `host`; `exists` tells whether there is a file.

    The first that applies: its certificate file demands TLS, a port with implicit TLS has it anyway, and the two
    lists of exceptions forbid it.
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
    """Say why a certificate is not the one of `host`; b"" if it is.

    `alternatives`: its dNSNames, which decide where there are any.
    """
    if alternatives:
        # The spelling is C's: analysers of reports know it.
        return b"" if any(_covers(it, host) for it in alternatives) else b"certificate contains no matching dNSNnames"
    if common_name is None:
        return b"certificate contains no valid commonName"
    if _covers(common_name, host):
        return b""
    return b"received certificate for " + common_name.encode("utf-8", "replace").translate(_SAFE)


def _covers(pattern: str, host: bytes) -> bool:
    """Whether a name in a certificate stands for a host: the same, or *. and everything behind the host's first dot."""
    given = pattern.lower().encode("utf-8", "replace")
    name = host.lower().rstrip(b".")
    domain = name.partition(b".")[2]
    return given == name or (domain != b"" and given == b"*." + domain)


def _file_name(host: bytes) -> bytes:
    """A host's name as files are named after it, b"" when no file can be."""
    name = host.lower().rstrip(b".")
    return b"" if b"/" in name or b"\0" in name or len(name) > 250 else name
