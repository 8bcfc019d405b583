"""Mail authentication without a network: searches run against a table of records; messages are signed and checked."""

from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, TypeVar

from eqmail_core.dns.query import NO_ANSWER, NO_SUCH_NAME, NOTHING, TXT, DnsAnswer, DnsQuestion
from eqmail_core.mail.header_editor import EditedHeader
from eqmail_core.mail_auth.arc import ArcResult, ArcVerifier
from eqmail_core.mail_auth.canonical import RELAXED, BodyHashes
from eqmail_core.mail_auth.dkim_key import ED25519, RSA, generate_private_key, public_record
from eqmail_core.mail_auth.dkim_sign import DkimSigningKey, sign
from eqmail_core.mail_auth.dkim_verify import DkimResult, DkimVerifier

if TYPE_CHECKING:
    from eqmail_core.mail_auth.dkim_key import PrivateKey

Found = TypeVar("Found")
Ask = Callable[[DnsQuestion], DnsAnswer]
SIGNED, NOW = 1_700_000_000, 4_000_000_000
"""When the messages were signed, and when they are looked at, in seconds since the epoch."""

KEYS: "dict[bytes, PrivateKey]" = {b"r": generate_private_key(RSA), b"e": generate_private_key(ED25519)}
"""A key of each kind, by selector."""


def run(search: Generator[list[DnsQuestion], list[DnsAnswer], Found], ask: Ask) -> Found:
    """Run a search to its end."""
    try:
        questions = next(search)
        while True:
            questions = search.send([ask(question) for question in questions])
    except StopIteration as end:
        found: Found = end.value
        return found


def texts(records: Mapping[bytes, bytes | tuple[bytes, ...] | DnsAnswer]) -> Ask:
    """Answer questions for TXT from a table; other names do not exist."""

    def ask(question: DnsQuestion) -> DnsAnswer:
        kind, name = question
        found = records.get(name)
        if found is None:
            return NO_SUCH_NAME
        if isinstance(found, DnsAnswer):
            return found
        return DnsAnswer(texts=(found,) if isinstance(found, bytes) else found) if kind == TXT else NOTHING

    return ask


def published(domain: bytes = b"a.test") -> dict[bytes, bytes]:
    """The records of KEYS."""
    return {b"%b._domainkey.%b" % (selector, domain): public_record(key) for selector, key in KEYS.items()}


def split(message: bytes) -> tuple[list[bytes], bytes]:
    """Return the header fields and the body of a message with LF line ends."""
    header = EditedHeader(message)
    return header.fields, message[header.size :].removeprefix(b"\n")


def signed(
    message: bytes, forms: tuple[bytes, bytes] = (RELAXED, RELAXED), domain: bytes = b"a.test", now: int = SIGNED
) -> bytes:
    """Return the message with a signature by each of KEYS before it."""
    fields, body = split(message)
    hashes = BodyHashes([forms[1]])
    hashes.feed(body)
    keys = [DkimSigningKey(domain, selector, key) for selector, key in KEYS.items()]
    return b"".join(sign(fields, hashes.finish()[forms[1]], keys, now, forms)) + message


def verify(message: bytes, ask: Ask | None = None, now: int = NOW) -> list[DkimResult]:
    """Return the results of a message's DKIM signatures."""
    fields, body = split(message)
    verifier = DkimVerifier(fields, now)
    verifier.feed(body)
    return run(verifier.search(), ask or texts(published()))


def silent(question: DnsQuestion) -> DnsAnswer:
    """A name server that does not answer."""
    return NO_ANSWER


def arc_result(message: bytes, ask: Ask) -> ArcResult:
    """Return the result of a message's ARC chain."""
    fields, body = split(message)
    verifier = ArcVerifier(fields)
    verifier.feed(body)
    return run(verifier.search(), ask)
