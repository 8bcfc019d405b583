"""DSN parameters of a message (RET, ENVID, NOTIFY, ORCPT) and SMTPUTF8, and their text form.

The text form is one printable line of words with a blank between two words:

    W                   the first word of every list
    U                   the message needs SMTPUTF8
    F, H                return the full message, or its header only (RET)
    E:ENVID             the sender's envelope identifier, in xtext
    KEY:NOTIFY:ORCPT    of one recipient: letters of NOTIFY, and the original recipient, TYPE;XTEXT

KEY is the recipient's index in the envelope, from 0. On the disk and in the scheduler it is the letter of the channel
and the offset in its list, such as l0 or r26. NOTIFY is n alone (NEVER), some of s, f and d (SUCCESS, FAILURE, DELAY),
or empty for the default. ORCPT may be empty. Only recipients with parameters are listed.

After the final NUL of an envelope the list is one more record, which other implementations of qmail-queue ignore.

Light.  Source: RFC 3461 section 4; RFC 6531 section 3.4.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ENVID = 100
"""Longest ENVID, in characters (RFC 3461 section 4.4)."""

MAX_ORCPT = 500
"""Longest ORCPT, in characters (RFC 3461 section 4.2)."""

FULL, HEADER_ONLY = b"F", b"H"
NEVER, SUCCESS, FAILURE, DELAY = b"n", b"s", b"f", b"d"

_MARK = b"W"
_UTF8 = b"U"
_ENVID = b"E"

# xtext is printable ASCII except + and =; any other byte is + and two hexadecimal digits (RFC 3461 section 4).
_XTEXT = bytes(byte for byte in range(33, 127) if byte != 61)
_HEX = b"0123456789ABCDEF"
_TYPE = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
# With SMTPUTF8 an address may be unencoded UTF-8 (RFC 6533 section 3).
_ADDRESS = _XTEXT + bytes(range(128, 256))

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
    """DSN parameters and SMTPUTF8 flag of a message.

    `ret`: FULL, HEADER_ONLY or b"". `envid`: xtext or b"". `recipients`: by key.
    """

    __slots__ = ("envid", "is_utf8", "recipients", "ret")

    def __init__(self, is_utf8: bool = False, ret: bytes = b"", envid: bytes = b"") -> None:
        self.is_utf8 = is_utf8
        self.ret = ret
        self.envid = envid
        self.recipients: dict[bytes, RecipientDsn] = {}

    @property
    def has_notify(self) -> bool:
        """Whether the sender used RFC 3461 parameters, and so understands RFC 3464 reports."""
        return bool(self.envid or self.recipients or self.ret)

    def for_recipient(self, key: bytes) -> RecipientDsn:
        """Return the parameters of one recipient; NO_DSN without any."""
        return self.recipients.get(key, NO_DSN)

    def only_for(self, key: bytes) -> "DsnParameters":
        """Return the parameters for a copy to this recipient alone, at index 0."""
        return self.rekeyed(lambda item: b"0" if item == key else None)

    def for_each(self, count: int) -> "DsnParameters":
        """Return the parameters for `count` recipients, each with those of the one at index 0."""
        other = DsnParameters(self.is_utf8, self.ret, self.envid)
        other.recipients = {index_key(place): self.for_recipient(index_key(0)) for place in range(count)}
        return other

    def relayed(self, count: int, is_alone: bool) -> "DsnParameters":
        """Return the parameters of a message forwarded to `count` addresses under the same sender.

        For a single address they stay. Otherwise the forwarder reports success, and SUCCESS is removed.
        Source: RFC 3461 section 5.2.7.
        """
        other = self.for_each(count)
        for key, dsn in other.recipients.items() if not is_alone else ():
            if dsn.wants_success:
                other.recipients[key] = RecipientDsn(dsn.notify.replace(SUCCESS, b"") or NEVER, dsn.orcpt)
        return other

    def rekeyed(self, new_key: "Callable[[bytes], bytes | None]") -> "DsnParameters":
        """Return a copy with new keys; recipients whose new key is None are left out."""
        other = DsnParameters(self.is_utf8, self.ret, self.envid)
        for key, dsn in self.recipients.items():
            new = new_key(key)
            if new is not None:
                other.recipients[new] = dsn
        return other


def render_dsn(dsn: DsnParameters | None) -> bytes:
    """Render the parameters as a list without a terminator; b"" without any."""
    if dsn is None:
        return b""
    words = [_MARK]
    if dsn.is_utf8:
        words.append(_UTF8)
    if dsn.ret:
        words.append(dsn.ret)
    if dsn.envid:
        words.append(b"%b:%b" % (_ENVID, dsn.envid))
    for key, recipient_dsn in dsn.recipients.items():
        if recipient_dsn.notify or recipient_dsn.orcpt:
            words.append(b"%b:%b:%b" % (key, recipient_dsn.notify, recipient_dsn.orcpt))
    return b" ".join(words) if len(words) > 1 else b""


def relayed_dsn(text: bytes, count: int, is_alone: bool = False, is_same_sender: bool = True) -> bytes:
    """Return the list for a forwarded message; `text` is its list on arrival.

    See `DsnParameters.relayed`. Under a new sender only SMTPUTF8 is kept.
    The original sender thus gets no reports about list members or new addresses.
    """
    dsn = parse_dsn(text)
    if dsn is None:
        return b""
    return render_dsn(dsn.relayed(count, is_alone) if is_same_sender else DsnParameters(dsn.is_utf8))


def parse_dsn(text: bytes) -> DsnParameters | None:
    """Read a list from an untrusted source; None if any word of it is invalid."""
    first, *words = text.split(b" ")
    if first != _MARK or not words:
        return None
    dsn = DsnParameters()
    for word in words:
        key, colon, value = word.partition(b":")
        if key == _UTF8 and not colon:
            dsn.is_utf8 = True
        elif key in (FULL, HEADER_ONLY) and not colon:
            dsn.ret = key
        elif key == _ENVID and value and is_envid(value):
            dsn.envid = value
        elif _is_key(key):
            notify, _, orcpt = value.partition(b":")
            if notify not in _NOTIFY or (orcpt and not is_orcpt(orcpt)):
                return None
            dsn.recipients[key] = RecipientDsn(notify, orcpt)
        else:
            return None
    return dsn


def _is_key(key: bytes) -> bool:
    digits = key[1:] if key[:1] in (b"l", b"r") else key
    return digits.isdigit() and len(digits) <= _MAX_DIGITS


def is_envid(text: bytes) -> bool:
    """Return whether a text may be an ENVID."""
    return 0 < len(text) <= MAX_ENVID and _is_xtext(text, _XTEXT)


def is_orcpt(text: bytes) -> bool:
    """Return whether a text may be an ORCPT."""
    kind, _, address = text.partition(b";")
    is_typed = bool(kind and address) and not kind.translate(None, _TYPE)
    return is_typed and len(text) <= MAX_ORCPT and _is_xtext(address, _ADDRESS)


def _is_xtext(text: bytes, letters: bytes) -> bool:
    if text.translate(None, letters):
        return False
    return b"+" not in text or all(len(it) > 1 and it[0] in _HEX and it[1] in _HEX for it in text.split(b"+")[1:])


def decode_xtext(text: bytes) -> bytes:
    """Decode xtext; text that is not xtext is returned unchanged."""
    if b"+" not in text or not _is_xtext(text, _ADDRESS):
        return text
    first, *others = text.split(b"+")
    return first + b"".join([bytes((int(it[:2], 16),)) + it[2:] for it in others])


def encode_xtext(text: bytes) -> bytes:
    """Encode any bytes as xtext."""
    return b"".join([b"%c" % byte if byte in _XTEXT and byte != 43 else b"+%02X" % byte for byte in text])


def index_key(index: int) -> bytes:
    """Return the key of a recipient in an envelope, by its index."""
    return b"%d" % index


def list_key(channel: int, offset: int) -> bytes:
    """Return the key of a recipient by its offset in local/N (channel 0) or remote/N (1)."""
    return (b"r%d" if channel else b"l%d") % offset


def with_dsn(envelope: bytes | bytearray, end: int) -> bytes:
    """Return an envelope as the queue stores it.

    `end`: where the last record ends; the bytes after it may be invalid.
    The result is the records; with DSN parameters a NUL, the list and a NUL follow.
    """
    records = bytes(envelope[:end])
    if len(envelope) <= end + 2:
        return records
    text, is_whole, _ = bytes(envelope[end + 1 :]).partition(b"\0")
    dsn = render_dsn(parse_dsn(text)) if is_whole else b""
    return b"%b\0%b\0" % (records, dsn) if dsn else records
