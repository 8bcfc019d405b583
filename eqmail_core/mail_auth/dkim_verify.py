"""Verify the DKIM signatures of a message.

The caller feeds the body, asks for the keys (a search, as in `dns.mx`), and gets one result per signature.

Not accepted: rsa-sha1, RSA keys of less than 1024 bits (RFC 8301), and signatures with l=, which leave the end of a
body to anyone: these are neutral. A signature that does not cover From is invalid.

Fails: never; every error is a result.
Source: RFC 6376 section 6.1; RFC 8601 section 2.7.1 (results).
"""

import base64
import binascii

from eqmail_core.dns.query import TXT
from eqmail_core.mail.domain_name import ascii_domain
from eqmail_core.mail.header import field_text
from eqmail_core.mail_auth.canonical import FORMS, SIMPLE, BodyHashes
from eqmail_core.mail_auth.dkim_key import ALGORITHMS, InvalidKey, KeyRecord, parse_key
from eqmail_core.mail_auth.signed_header import HeaderIndex, signed_digest
from eqmail_core.mail_auth.tag_list import InvalidTagList, parse_tags, split_list, without_blanks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from eqmail_core.dns.query import DnsAnswer, DnsQuestion

PASS, FAIL, NEUTRAL, POLICY = b"pass", b"fail", b"neutral", b"policy"
TEMPERROR, PERMERROR, NONE = b"temperror", b"permerror", b"none"

MAX_SIGNATURES = 8
"""Most signatures of a message that are verified, from the top down."""

MAX_SIGNATURE = 16384
"""Longest signature field, in bytes."""

MAX_NAMES = 256
"""Most names in h=."""

CLOCK_SKEW_S = 300
"""How far in the future a signature may have been made, in seconds."""

FIELD = b"dkim-signature"


class InvalidSignatureField(ValueError):
    """A signature that cannot be verified; `result` is PERMERROR or NEUTRAL, the text says why."""

    def __init__(self, reason: str, result: bytes = PERMERROR) -> None:
        super().__init__(reason)
        self.result = result


class SignatureTags:
    """The tags of a signature that parsing and verifying need; `field` is the whole header field."""

    __slots__ = (
        "algorithm",
        "body_form",
        "body_hash",
        "domain",
        "field",
        "header_form",
        "identity",
        "names",
        "selector",
        "signature",
        "tags",
    )

    def __init__(self, field: bytes, tags: dict[bytes, bytes]) -> None:
        self.field = field
        self.tags = tags
        self.algorithm = tags[b"a"].lower()
        self.domain = tags[b"d"].lower()
        self.selector = tags[b"s"]
        self.identity = tags.get(b"i", b"@" + tags[b"d"])
        self.signature = decoded(tags[b"b"])
        self.body_hash = decoded(tags[b"bh"])
        self.names = split_list(tags[b"h"])
        header_form, slash, body_form = tags.get(b"c", SIMPLE).lower().partition(b"/")
        self.header_form = header_form
        self.body_form = body_form if slash else SIMPLE

    @property
    def key_question(self) -> "DnsQuestion":
        """The question for the key record."""
        return TXT, ascii_domain(b"%b._domainkey.%b" % (self.selector, self.domain))


class DkimResult:
    """The result for one signature; `signature` None where it could not be read.

    `reason`: in words, b"" for pass. `bits`: length of the key, 0 if unknown.
    """

    __slots__ = ("bits", "domain", "is_testing", "reason", "result", "signature")

    def __init__(
        self, result: bytes, reason: bytes = b"", signature: SignatureTags | None = None, domain: bytes = b""
    ) -> None:
        self.result = result
        self.reason = reason
        self.signature = signature
        self.domain = signature.domain if signature is not None else domain
        self.bits = 0
        self.is_testing = False


class DkimVerifier:
    """The signatures of one message: `feed` the body, run `search`, and `results` has one result for each.

    `fields`: the header fields, each with its LF. `now`: seconds since the epoch.
    """

    __slots__ = ("_body", "_body_hashes", "_checked", "_index", "results")

    def __init__(self, fields: "Sequence[bytes]", now: int) -> None:
        self._index = HeaderIndex(fields)
        self._checked: list[SignatureTags | DkimResult] = []
        self.results: list[DkimResult] = []
        for field in self._index.named(FIELD)[:MAX_SIGNATURES]:
            self._checked.append(self._checked_signature(field, now))
        self._body = BodyHashes({it.body_form for it in self._checked if isinstance(it, SignatureTags)})
        self._body_hashes: dict[bytes, bytes] | None = None

    def feed(self, piece: bytes) -> None:
        """Add a piece of the body."""
        self._body.feed(piece)

    @property
    def needs_body(self) -> bool:
        """Whether the body matters."""
        return any(isinstance(it, SignatureTags) for it in self._checked)

    def search(self) -> "Generator[list[DnsQuestion], list[DnsAnswer], list[DkimResult]]":
        """Ask for the keys and return the results, in the order of the signatures; the body must be complete."""
        questions = list(dict.fromkeys(it.key_question for it in self._checked if isinstance(it, SignatureTags)))
        answers = dict(zip(questions, (yield questions), strict=True)) if questions else {}
        self.results = [
            it if isinstance(it, DkimResult) else self._result(it, answers[it.key_question]) for it in self._checked
        ]
        return self.results

    def _checked_signature(self, field: bytes, now: int) -> SignatureTags | DkimResult:
        try:
            return parse_signature(field, now)
        except InvalidSignatureField as error:
            return DkimResult(error.result, str(error).encode(), domain=_domain_of(field))

    def _result(self, signature: SignatureTags, answer: "DnsAnswer") -> DkimResult:
        if self._body_hashes is None:
            self._body_hashes = self._body.finish()
        fields = self._index.select(signature.names, without=signature.field)
        return verified(signature, answer, fields, self._body_hashes[signature.body_form])


def verified(signature: SignatureTags, answer: "DnsAnswer", fields: "Sequence[bytes]", body_hash: bytes) -> DkimResult:
    """Return the result for a signature whose key is in `answer`.

    `fields`: those that it covers. `body_hash`: of the body in its form.
    """
    if answer.is_temporary:
        return DkimResult(TEMPERROR, b"no answer to the question for the key", signature)
    try:
        key = key_in(answer)
    except InvalidKey as error:
        return DkimResult(PERMERROR, str(error).encode(), signature)
    result = _compared(signature, key, fields, body_hash)
    result.bits, result.is_testing = key.bits, key.is_testing
    return result


def key_in(answer: "DnsAnswer") -> KeyRecord:
    """Return the first usable key record.  Fails: InvalidKey, for the first record where none is usable."""
    trouble = InvalidKey("no key")
    for number, text in enumerate(answer.texts[:4]):
        try:
            return parse_key(text)
        except InvalidKey as error:
            if not number:
                trouble = error
    raise trouble


def _compared(signature: SignatureTags, key: KeyRecord, fields: "Sequence[bytes]", body_hash: bytes) -> DkimResult:
    if key.kind != ALGORITHMS[signature.algorithm]:
        return DkimResult(PERMERROR, b"key of another algorithm", signature)
    if key.is_strict and signature.identity.rpartition(b"@")[2].lower() != signature.domain:
        return DkimResult(PERMERROR, b"key not for subdomains", signature)
    if body_hash != signature.body_hash:
        return DkimResult(FAIL, b"body hash did not verify", signature)
    digest = signed_digest(fields, signature.field, signature.header_form)
    if not key.verifies(signature.signature, digest):
        return DkimResult(FAIL, b"signature did not verify", signature)
    return DkimResult(PASS, b"", signature)


def parse_signature(field: bytes, now: int) -> SignatureTags:
    """Read a DKIM-Signature field.

    Fails: InvalidSignatureField.
    """
    tags = signature_tags(field, (b"v", b"a", b"b", b"bh", b"d", b"h", b"s"))
    if tags[b"v"] != b"1":
        raise InvalidSignatureField("signature of another version")
    if not tags[b"d"] or not tags[b"s"]:
        raise InvalidSignatureField("no domain or selector")
    identity_domain = tags.get(b"i", b"@" + tags[b"d"]).rpartition(b"@")[2].lower()
    if identity_domain != tags[b"d"].lower() and not identity_domain.endswith(b"." + tags[b"d"].lower()):
        raise InvalidSignatureField("i= is outside of d=")
    if b"q" in tags and b"dns/txt" not in split_list(tags[b"q"]):
        raise InvalidSignatureField("unknown way to the key")
    signature = checked_tags(field, tags)
    if b"from" not in {name.lower() for name in signature.names}:
        raise InvalidSignatureField("From is not signed")
    check_times(tags, now)
    if b"l" in tags:
        raise InvalidSignatureField("l= leaves a part of the body unsigned", NEUTRAL)
    return signature


def signature_tags(field: bytes, required: tuple[bytes, ...]) -> dict[bytes, bytes]:
    """Return the tags of a signature field, all `required` ones among them."""
    if len(field) > MAX_SIGNATURE:
        raise InvalidSignatureField("signature too long")
    try:
        tags = parse_tags(field_text(field))
    except InvalidTagList as error:
        raise InvalidSignatureField("signature syntax error") from error
    missing = [name.decode() for name in required if name not in tags]
    if missing:
        raise InvalidSignatureField(f"signature without {missing[0]}=")
    return tags


def checked_tags(field: bytes, tags: dict[bytes, bytes]) -> SignatureTags:
    """Return the parsed values of a signature; algorithm, forms and lengths are valid."""
    signature = SignatureTags(field, tags)
    if signature.algorithm not in ALGORITHMS:
        known = b"sha1" in signature.algorithm
        raise InvalidSignatureField("rsa-sha1 is not accepted" if known else "unknown algorithm")
    if signature.header_form not in FORMS or signature.body_form not in FORMS:
        raise InvalidSignatureField("unknown canonical form")
    if len(signature.names) > MAX_NAMES:
        raise InvalidSignatureField("too many names in h=")
    return signature


def check_times(tags: dict[bytes, bytes], now: int) -> None:
    """Check t= and x=.  Fails: InvalidSignatureField."""
    made, until = _number(tags.get(b"t")), _number(tags.get(b"x"))
    if made is not None and made > now + CLOCK_SKEW_S:
        raise InvalidSignatureField("signature from the future")
    if until is not None and made is not None and until < made:
        raise InvalidSignatureField("signature expired before it was made")
    if until is not None and until < now - CLOCK_SKEW_S:
        raise InvalidSignatureField("signature expired")


def _number(value: bytes | None) -> int | None:
    if value is None:
        return None
    if not value.isdigit() or len(value) > 12:
        raise InvalidSignatureField("no time in t= or x=")
    return int(value)


def decoded(value: bytes) -> bytes:
    """Return base64 data.  Fails: InvalidSignatureField."""
    try:
        return base64.b64decode(without_blanks(value), validate=True)
    except (ValueError, binascii.Error) as error:
        raise InvalidSignatureField("signature not in base64") from error


def _domain_of(field: bytes) -> bytes:
    try:
        return parse_tags(field_text(field[:MAX_SIGNATURE])).get(b"d", b"").lower()
    except InvalidTagList:
        return b""
