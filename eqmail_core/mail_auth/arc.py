"""ARC: verify the chain of seals that forwarders put on a message.

Sealing is not here: ARC is on its way to being historic, and what it says helps only those who know the sealer.

Fails: never; every error is a result.
Source: RFC 8617 sections 4 and 5.2.
"""

from cryptography.hazmat.primitives import hashes

from eqmail_core.dns.query import TXT
from eqmail_core.mail.domain_name import ascii_domain
from eqmail_core.mail.header import field_text
from eqmail_core.mail_auth.canonical import RELAXED, BodyHashes, canonical_field
from eqmail_core.mail_auth.dkim_key import ALGORITHMS, InvalidKey
from eqmail_core.mail_auth.dkim_verify import (
    FAIL,
    NONE,
    PASS,
    TEMPERROR,
    InvalidSignatureField,
    SignatureTags,
    checked_tags,
    decoded,
    key_in,
    signature_tags,
    verified,
)
from eqmail_core.mail_auth.signed_header import HeaderIndex, without_signature

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from eqmail_core.dns.query import DnsAnswer, DnsQuestion

AAR, AMS, SEAL = b"arc-authentication-results", b"arc-message-signature", b"arc-seal"

MAX_SETS = 50
"""Most sets of a chain (RFC 8617 section 4.2.1)."""

MAX_VERIFIED = 8
"""Most seals that are verified; a longer chain fails."""


class ArcResult:
    """The result for a chain; `sealers` has the domains from the newest to the oldest.

    `results`: content of the newest ARC-Authentication-Results without its instance.
    """

    __slots__ = ("reason", "result", "results", "sealers")

    def __init__(self, result: bytes, reason: bytes = b"") -> None:
        self.result = result
        self.reason = reason
        self.sealers: list[bytes] = []
        self.results = b""


class _ArcSet:
    __slots__ = ("message", "results", "seal", "seal_field")

    def __init__(self, results: bytes, message: SignatureTags, seal_field: bytes, seal: dict[bytes, bytes]) -> None:
        self.results = results
        self.message = message
        self.seal_field = seal_field
        self.seal = seal


class ArcVerifier:
    """The chain of one message: `feed` the body, then run `search`; see DkimVerifier."""

    __slots__ = ("_body", "_early", "_index", "_sets")

    def __init__(self, fields: "Sequence[bytes]") -> None:
        self._index = HeaderIndex(fields)
        self._sets: list[_ArcSet] = []
        self._early: ArcResult | None = None
        if not any(self._index.named(name) for name in (AAR, AMS, SEAL)):
            self._early = ArcResult(NONE)
        else:
            try:
                self._sets = self._read_sets()
            except InvalidSignatureField as error:
                self._early = ArcResult(FAIL, str(error).encode())
        self._body = BodyHashes({self._sets[-1].message.body_form} if self._sets else ())

    @property
    def needs_body(self) -> bool:
        """Whether the body matters."""
        return self._early is None

    def feed(self, piece: bytes) -> None:
        """Add a piece of the body."""
        self._body.feed(piece)

    def search(self) -> "Generator[list[DnsQuestion], list[DnsAnswer], ArcResult]":
        """Ask for the keys and return the result; the body must be complete."""
        if self._early is not None:
            return self._early
        newest = self._sets[-1].message
        questions = [newest.key_question, *(_key_question(it.seal) for it in self._sets)]
        distinct = list(dict.fromkeys(questions))
        answers = dict(zip(distinct, (yield distinct), strict=True))
        found = self._verified(newest, answers)
        found.sealers = [it.seal[b"d"].lower() for it in reversed(self._sets)]
        found.results = self._sets[-1].results
        return found

    def _verified(self, newest: SignatureTags, answers: "dict[DnsQuestion, DnsAnswer]") -> ArcResult:
        if any(answer.is_temporary for answer in answers.values()):
            return ArcResult(TEMPERROR, b"no answer to the question for a key")
        body_hash = self._body.finish()[newest.body_form]
        fields = self._index.select(newest.names, without=newest.field)
        message = verified(newest, answers[newest.key_question], fields, body_hash)
        if message.result != PASS:
            return ArcResult(FAIL, b"message signature: " + message.reason)
        for number in range(len(self._sets), 0, -1):
            trouble = self._seal_trouble(number, answers)
            if trouble:
                return ArcResult(FAIL, b"seal %d: %b" % (number, trouble))
        return ArcResult(PASS)

    def _seal_trouble(self, number: int, answers: "dict[DnsQuestion, DnsAnswer]") -> bytes:
        """Return why seal `number` does not verify, b"" if it does."""
        tags = self._sets[number - 1].seal
        try:
            key = key_in(answers[_key_question(tags)])
            signature = decoded(tags[b"b"])
        except (InvalidKey, InvalidSignatureField) as error:
            return str(error).encode()
        if key.kind != ALGORITHMS[tags[b"a"].lower()]:
            return b"key of another algorithm"
        return b"" if key.verifies(signature, self._seal_digest(number)) else b"signature did not verify"

    def _seal_digest(self, number: int) -> bytes:
        """Return the SHA-256 that seal `number` signs: all sets up to its own."""
        digest = hashes.Hash(hashes.SHA256())
        for place in range(number):
            arc_set = self._sets[place]
            is_own = place == number - 1
            seal = without_signature(arc_set.seal_field) if is_own else arc_set.seal_field
            for field in (self._results_field(place), arc_set.message.field):
                digest.update(canonical_field(field, RELAXED))
            text = canonical_field(seal, RELAXED)
            digest.update(text.removesuffix(b"\r\n") if is_own else text)
        return digest.finalize()

    def _results_field(self, place: int) -> bytes:
        return next(field for field in self._index.named(AAR) if _instance_of_results(field) == place + 1)

    # --- reading

    def _read_sets(self) -> list[_ArcSet]:
        results = _by_instance(self._index.named(AAR), _instance_of_results)
        messages = _by_instance(self._index.named(AMS), _instance_of_signature)
        seals = _by_instance(self._index.named(SEAL), _instance_of_signature)
        count = len(seals)
        wanted = set(range(1, count + 1))
        if not (set(results) == set(messages) == set(seals) == wanted):
            raise InvalidSignatureField("sets are not complete")
        if count > MAX_VERIFIED:
            raise InvalidSignatureField("too many sets")
        return [_read_set(number, results[number], messages[number], seals[number]) for number in sorted(wanted)]


def _read_set(number: int, results: bytes, message: bytes, seal: bytes) -> _ArcSet:
    tags = signature_tags(message, (b"i", b"a", b"b", b"bh", b"d", b"h", b"s"))
    # Sealers that say no form mean relaxed: the first drafts knew no other.
    signature = checked_tags(message, {b"c": RELAXED + b"/" + RELAXED} | tags)
    if SEAL in {name.lower() for name in signature.names}:
        raise InvalidSignatureField("a message signature covers a seal")
    if b"l" in tags:
        raise InvalidSignatureField("l= leaves a part of the body unsigned")
    seal_tags = signature_tags(seal, (b"i", b"a", b"b", b"cv", b"d", b"s"))
    if seal_tags[b"a"].lower() not in ALGORITHMS:
        raise InvalidSignatureField("unknown algorithm of a seal")
    if b"h" in seal_tags:
        raise InvalidSignatureField("a seal with h=")
    if seal_tags[b"cv"].lower() != (NONE if number == 1 else PASS):
        raise InvalidSignatureField(f"seal {number} says cv={seal_tags[b'cv'][:20].decode('latin-1')}")
    return _ArcSet(field_text(results).partition(b";")[2].strip(), signature, seal, seal_tags)


def _by_instance(fields: "Sequence[bytes]", instance: "Callable[[bytes], int]") -> dict[int, bytes]:
    """Return fields by their instance.  Fails: InvalidSignatureField for one without, or two of one instance."""
    if len(fields) > MAX_SETS:
        raise InvalidSignatureField("too many sets")
    found: dict[int, bytes] = {}
    for field in fields:
        number = instance(field)
        if number in found:
            raise InvalidSignatureField(f"two fields of instance {number}")
        found[number] = field
    return found


def _instance_of_signature(field: bytes) -> int:
    return _instance(signature_tags(field, (b"i",))[b"i"])


def _instance_of_results(field: bytes) -> int:
    name, equals, value = field_text(field).partition(b";")[0].partition(b"=")
    if name.strip(b" \t\n").lower() != b"i" or not equals:
        raise InvalidSignatureField("results without an instance")
    return _instance(value.strip(b" \t\n"))


def _instance(value: bytes) -> int:
    if not value.isdigit() or len(value) > 3 or not 0 < int(value) <= MAX_SETS:
        raise InvalidSignatureField("no instance in i=")
    return int(value)


def _key_question(tags: dict[bytes, bytes]) -> "DnsQuestion":
    return TXT, ascii_domain(b"%b._domainkey.%b" % (tags[b"s"], tags[b"d"].lower()))
