"""DSN parameters of a message (RET, ENVID, NOTIFY, ORCPT), SMTPUTF8 and REQUIRETLS, and their text form.

The text form is one printable line of words with a blank between two words:

    W                   the first word of every list
    U                   the message needs SMTPUTF8
    T                   it goes by verified TLS alone (REQUIRETLS)
    F, H                return the full message, or its header only (RET)
    E:ENVID             the sender's envelope identifier, in xtext
    KEY:NOTIFY:ORCPT    of one recipient: letters of NOTIFY, and the original recipient, TYPE;XTEXT
    L:LOGIN, A:ADDRESS, N:UID, X:REASON   facts about the submission, in xtext: dsn/submitter.py

KEY is the recipient's index in the envelope, from 0. On the disk and in the scheduler it is the letter of the channel
and the offset in its list, such as l0 or r26. NOTIFY is n alone (NEVER), some of s, f and d (SUCCESS, FAILURE, DELAY),
or empty for the default. ORCPT may be empty. Only recipients with parameters are listed.

After the final NUL of an envelope the list is one more record, which other implementations of qmail-queue ignore.

Light.  Source: RFC 3461 section 4; RFC 6531 section 3.4; RFC 8689 section 2.
"""

from eqmail_core.dsn.xtext import is_xtext, is_xtext_or_utf8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MAX_ENVID = 100
"""Longest ENVID, in characters (RFC 3461 section 4.4)."""

MAX_ORCPT = 500
"""Longest ORCPT, in characters (RFC 3461 section 4.2)."""

FULL, HEADER_ONLY = b"F", b"H"
NEVER, SUCCESS, FAILURE, DELAY = b"n", b"s", b"f", b"d"

_MARK = b"W"
_UTF8 = b"U"
_TLS = b"T"
_ENVID = b"E"

_TYPE = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"

MAX_FACT = 1000
"""Longest fact about a submission, in characters of xtext."""

LOGIN, ADDRESS, UID, HELD = b"L", b"A", b"N", b"X"
FACTS = (LOGIN, ADDRESS, UID, HELD)
"""The letters of facts about the submission."""

_NOTIFY = frozenset(s + f + d for s in (b"", SUCCESS) for f in (b"", FAILURE) for d in (b"", DELAY)) | {NEVER}
_MAX_DIGITS = 19


class RecipientDsn:
    """DSN parameters of one recipient.

    `notify`: letters, b"" for the default. `orcpt`: TYPE;XTEXT, b"" for none.
    """

    __slots__ = ("notify", "orcpt")

    def __init__(self, notify: bytes = b"", orcpt: bytes = b"") -> None:
        self.notify = notify
        self.orcpt = orcpt

    @property
    def wants_success(self) -> bool:
        """Whether a successful delivery is reported."""
        return SUCCESS in self.notify

    @property
    def wants_failure(self) -> bool:
        """Whether a permanent failure is reported."""
        return not self.notify or FAILURE in self.notify

    @property
    def wants_delay(self) -> bool:
        """Whether a delay may be reported."""
        return not self.notify or DELAY in self.notify


NO_DSN = RecipientDsn()


class DsnParameters:
    """DSN parameters of a message, and whether it has SMTPUTF8 and REQUIRETLS.

    `ret`: FULL, HEADER_ONLY or b"". `envid`: xtext or b"". `facts`: what the queue knows of the submission, by letter,
    in xtext; they stay with this message and are not passed on.
    Recipients are known by their index in the envelope, and once the message is preprocessed, by channel and offset in
    local/N (channel 0) or remote/N (1): `by_lists` goes from one to the other.
    """

    __slots__ = ("_recipients", "envid", "facts", "is_utf8", "requires_tls", "ret")

    def __init__(
        self,
        is_utf8: bool = False,
        ret: bytes = b"",
        envid: bytes = b"",
        recipients: "dict[bytes, RecipientDsn] | None" = None,
        requires_tls: bool = False,
    ) -> None:
        self.is_utf8 = is_utf8
        self.ret = ret
        self.envid = envid
        self._recipients = recipients or {}
        self.facts: dict[bytes, bytes] = {}
        self.requires_tls = requires_tls

    @property
    def has_notify(self) -> bool:
        """Whether the sender used RFC 3461 parameters, and so understands RFC 3464 reports."""
        return bool(self.envid or self._recipients or self.ret)

    def recipient(self, index: int) -> RecipientDsn:
        """Return the parameters of the recipient at `index` of the envelope; NO_DSN without any."""
        return self._recipients.get(_index_key(index), NO_DSN)

    def set_recipient(self, index: int, dsn: RecipientDsn) -> None:
        """Set the parameters of the recipient at `index` of the envelope."""
        self._recipients[_index_key(index)] = dsn

    def listed(self, channel: int, offset: int) -> RecipientDsn:
        """Return the parameters of a recipient of a list; NO_DSN without any."""
        return self._recipients.get(_list_key(channel, offset), NO_DSN)

    def all_recipients(self) -> "Iterable[RecipientDsn]":
        """Return the parameters of every recipient that has any."""
        return self._recipients.values()

    def by_lists(self, places: "Mapping[int, tuple[int, int]]") -> "DsnParameters":
        """Return the parameters for lists; `places`: channel and offset of recipients by index of the envelope."""
        keys = {_index_key(index): _list_key(*place) for index, place in places.items()}
        listed = self._with({keys[key]: dsn for key, dsn in self._recipients.items() if key in keys})
        listed.facts = self.facts
        return listed

    def only_listed(self, channel: int, offset: int) -> "DsnParameters":
        """Return the parameters for a copy to this recipient of a list alone, at index 0."""
        dsn = self._recipients.get(_list_key(channel, offset))
        return self.with_recipients([] if dsn is None else [dsn])

    def with_recipients(self, recipients: "Iterable[RecipientDsn]") -> "DsnParameters":
        """Return the parameters for other recipients, given in the order of their envelope."""
        return self._with({_index_key(index): dsn for index, dsn in enumerate(recipients)})

    def for_each(self, count: int) -> "DsnParameters":
        """Return the parameters for `count` recipients, each with those of the one at index 0."""
        return self.with_recipients([self.recipient(0)] * count)

    def relayed(self, count: int, is_alone: bool) -> "DsnParameters":
        """Return the parameters of a message forwarded to `count` addresses under the same sender.

        For a single address they stay. Otherwise the forwarder reports success, and SUCCESS is removed.
        Source: RFC 3461 section 5.2.7.
        """
        dsn = self.recipient(0)
        if dsn.wants_success and not is_alone:
            dsn = RecipientDsn(dsn.notify.replace(SUCCESS, b"") or NEVER, dsn.orcpt)
        return self.with_recipients([dsn] * count)

    def _with(self, recipients: dict[bytes, RecipientDsn]) -> "DsnParameters":
        return DsnParameters(self.is_utf8, self.ret, self.envid, recipients, self.requires_tls)

    def of_content(self) -> "DsnParameters":
        """Return what belongs to the message rather than to its sender: SMTPUTF8 and REQUIRETLS."""
        return DsnParameters(self.is_utf8, requires_tls=self.requires_tls)

    def words(self) -> "Iterator[bytes]":
        """Yield the words of the text form."""
        yield _MARK
        if self.is_utf8:
            yield _UTF8
        if self.requires_tls:
            yield _TLS
        for letter, fact in self.facts.items():
            yield b"%b:%b" % (letter, fact)
        if self.ret:
            yield self.ret
        if self.envid:
            yield b"%b:%b" % (_ENVID, self.envid)
        for key, dsn in self._recipients.items():
            if dsn.notify or dsn.orcpt:
                yield b"%b:%b:%b" % (key, dsn.notify, dsn.orcpt)

    def parse_word(self, word: bytes) -> bool:
        """Add what one word of the text form says; False if it is invalid."""
        key, colon, value = word.partition(b":")
        if key == _UTF8 and not colon:
            self.is_utf8 = True
        elif key == _TLS and not colon:
            self.requires_tls = True
        elif key in (FULL, HEADER_ONLY) and not colon:
            self.ret = key
        elif key == _ENVID and value and is_envid(value):
            self.envid = value
        elif key in FACTS and 0 < len(value) <= MAX_FACT and is_xtext(value):
            self.facts[key] = value
        elif _is_key(key):
            notify, _, orcpt = value.partition(b":")
            if notify not in _NOTIFY or (orcpt and not is_orcpt(orcpt)):
                return False
            self._recipients[key] = RecipientDsn(notify, orcpt)
        else:
            return False
        return True


def render_dsn(dsn: DsnParameters | None) -> bytes:
    """Render the parameters as a list without a terminator; b"" without any."""
    if dsn is None:
        return b""
    words = list(dsn.words())
    return b" ".join(words) if len(words) > 1 else b""


def relayed_dsn(text: bytes, count: int, is_alone: bool = False, is_same_sender: bool = True) -> bytes:
    """Return the list for a forwarded message; `text` is its list on arrival.

    See `DsnParameters.relayed`. Under a new sender only SMTPUTF8 and REQUIRETLS are kept.
    The original sender thus gets no reports about list members or new addresses.
    """
    dsn = parse_dsn(text)
    if dsn is None:
        return b""
    return render_dsn(dsn.relayed(count, is_alone) if is_same_sender else dsn.of_content())


def parse_dsn(text: bytes) -> DsnParameters | None:
    """Read a list from an untrusted source; None if any word of it is invalid."""
    first, *words = text.split(b" ")
    if first != _MARK or not words:
        return None
    dsn = DsnParameters()
    return dsn if all(map(dsn.parse_word, words)) else None


def _is_key(key: bytes) -> bool:
    digits = key[1:] if key[:1] in (b"l", b"r") else key
    return digits.isdigit() and len(digits) <= _MAX_DIGITS


def is_envid(text: bytes) -> bool:
    """Return whether a text may be an ENVID."""
    return 0 < len(text) <= MAX_ENVID and is_xtext(text)


def is_orcpt(text: bytes) -> bool:
    """Return whether a text may be an ORCPT."""
    kind, _, address = text.partition(b";")
    is_typed = bool(kind and address) and not kind.translate(None, _TYPE)
    return is_typed and len(text) <= MAX_ORCPT and is_xtext_or_utf8(address)


def _index_key(index: int) -> bytes:
    return b"%d" % index


def _list_key(channel: int, offset: int) -> bytes:
    return (b"r%d" if channel else b"l%d") % offset


def with_dsn(envelope: bytes | bytearray, end: int) -> bytes:
    """Return an envelope as the queue stores it.

    `end`: where the last record ends; the bytes after it may be invalid.
    The result is the records; with DSN parameters a NUL, the list and a NUL follow. Facts about the submission are
    dropped, because anybody may have written them.
    """
    dsn = submitted_dsn(envelope, end)
    if dsn is not None:
        dsn.facts = {}
    return stored_envelope(bytes(envelope[:end]), dsn)


def submitted_dsn(envelope: bytes | bytearray, end: int) -> DsnParameters | None:
    """Read the list behind the records of an envelope, which end at `end`; None without a valid one."""
    if len(envelope) <= end + 2:
        return None
    text, is_whole, _ = bytes(envelope[end + 1 :]).partition(b"\0")
    return parse_dsn(text) if is_whole else None


def stored_envelope(records: bytes, dsn: DsnParameters | None) -> bytes:
    """Render an envelope as the queue stores it; see `with_dsn`."""
    text = render_dsn(dsn)
    return b"%b\0%b\0" % (records, text) if text else records
