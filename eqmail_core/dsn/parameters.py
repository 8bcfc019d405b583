"""What the sender of a message wishes beside its addresses: which news of its fate, and how it is to be treated.

The wishes of a message travel as one word list, printable and with a blank between two words:

    W                   the first word of every list
    U                   the message needs SMTPUTF8
    F, H                bring it back whole, or its header only (RET)
    E:ENVID             the sender's name for the message, in xtext
    KEY:NEWS:ORCPT      of one recipient: letters of NOTIFY, and the address that the sender knew, TYPE;XTEXT

KEY is the recipient's place in the envelope, from 0; on the disk, and in the scheduler, it is the letter of the
channel and the offset in its list, as l0 or r26.  NEWS is n alone (NEVER), or some of s, f and d (SUCCESS, FAILURE,
DELAY), or nothing where the sender leaves it to us; ORCPT may be empty.  Only recipients with wishes are there.

Behind the final NUL of an envelope such a list is one more record; C's qmail-queue and every other ignore it there.

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

# xtext is printable ASCII but + and =, and for everything else + and two hexadecimal digits (RFC 3461 section 4).
_XTEXT = bytes(byte for byte in range(33, 127) if byte != 61)
_HEX = b"0123456789ABCDEF"
_TYPE = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"
# Under SMTPUTF8 an address may stand as it is (RFC 6533 section 3).
_ADDRESS = _XTEXT + bytes(range(128, 256))

_NOTIFY = frozenset(s + f + d for s in (b"", SUCCESS) for f in (b"", FAILURE) for d in (b"", DELAY)) | {NEVER}
_MAX_DIGITS = 19


class RecipientDsn:
    """What is wished about one recipient: letters of `news`, b"" for our habit, and `orcpt`, b"" for none."""

    __slots__ = ("notify", "orcpt")

    def __init__(self, notify: bytes = b"", orcpt: bytes = b"") -> None:
        self.notify = notify
        self.orcpt = orcpt

    @property
    def wants_success(self) -> bool:
        """Whether the sender is to be told when the recipient has the message."""
        return SUCCESS in self.notify

    @property
    def wants_failure(self) -> bool:
        """Whether the sender is to be told when the recipient will not get it."""
        return not self.notify or FAILURE in self.notify

    @property
    def wants_delay(self) -> bool:
        """Whether the sender may be told that the recipient has to wait."""
        return not self.notify or DELAY in self.notify


NO_DSN = RecipientDsn()


class DsnParameters:
    """The wishes of a message: `ret` is FULL, HEADER_ONLY or b""; `envid` b"" or xtext; `recipients` by their keys."""

    __slots__ = ("envid", "is_utf8", "recipients", "ret")

    def __init__(self, is_utf8: bool = False, ret: bytes = b"", envid: bytes = b"") -> None:
        self.is_utf8 = is_utf8
        self.ret = ret
        self.envid = envid
        self.recipients: dict[bytes, RecipientDsn] = {}

    @property
    def has_notify(self) -> bool:
        """Whether the sender speaks RFC 3461, and so understands its reports."""
        return bool(self.envid or self.recipients or self.ret)

    def for_recipient(self, key: bytes) -> RecipientDsn:
        """The wish about one recipient."""
        return self.recipients.get(key, NO_DSN)

    def only_for(self, key: bytes) -> "DsnParameters":
        """The wishes of the message as one that goes to this recipient alone, at place 0."""
        return self.rekeyed(lambda it: b"0" if it == key else None)

    def for_each(self, count: int) -> "DsnParameters":
        """The same for so many recipients, each with the wish about the one at place 0."""
        other = DsnParameters(self.is_utf8, self.ret, self.envid)
        other.recipients = {index_key(place): self.for_recipient(index_key(0)) for place in range(count)}
        return other

    def relayed(self, count: int, is_alone: bool) -> "DsnParameters":
        """The wishes of a message that an address passes on to so many others in the name of the same sender.

        To one alone as they are.  Otherwise who passes it on tells of success, and those after it tell of the rest.
        Source: RFC 3461 section 5.2.7.
        """
        other = self.for_each(count)
        for key, dsn in other.recipients.items() if not is_alone else ():
            if dsn.wants_success:
                other.recipients[key] = RecipientDsn(dsn.notify.replace(SUCCESS, b"") or NEVER, dsn.orcpt)
        return other

    def rekeyed(self, new_key: "Callable[[bytes], bytes | None]") -> "DsnParameters":
        """The same with other keys; recipients without a new one are left out."""
        other = DsnParameters(self.is_utf8, self.ret, self.envid)
        for key, dsn in self.recipients.items():
            new = new_key(key)
            if new is not None:
                other.recipients[new] = dsn
        return other


def render_dsn(dsn: DsnParameters | None) -> bytes:
    """The list of these wishes, without an end; b"" where there are none."""
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
    """The list for a message that its recipient passes on, see `Wishes.passed_on`; `text` is the list it came with.

    Under another sender only what the message needs is kept: nobody is told of a list's members, or of a new address.
    """
    dsn = parse_dsn(text)
    if dsn is None:
        return b""
    return render_dsn(dsn.relayed(count, is_alone) if is_same_sender else DsnParameters(dsn.is_utf8))


def parse_dsn(text: bytes) -> DsnParameters | None:
    """Read a list, which anybody may have written; None where it is none, or has a word that is wrong."""
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
    """What xtext stands for; what is no xtext is left as it is."""
    if b"+" not in text or not _is_xtext(text, _ADDRESS):
        return text
    first, *others = text.split(b"+")
    return first + b"".join([bytes((int(it[:2], 16),)) + it[2:] for it in others])


def encode_xtext(text: bytes) -> bytes:
    """Any bytes as xtext."""
    return b"".join([b"%c" % byte if byte in _XTEXT and byte != 43 else b"+%02X" % byte for byte in text])


def index_key(index: int) -> bytes:
    """The key of a recipient in an envelope, by its place."""
    return b"%d" % index


def list_key(channel: int, offset: int) -> bytes:
    """The key of a recipient by its place in local/N (channel 0) or remote/N (1)."""
    return (b"r%d" if channel else b"l%d") % offset


def split_dsn(envelope: bytes) -> tuple[bytes, bytes]:
    """An envelope, and the list behind its final NUL, b"" for none; one without final NUL is taken as it is."""
    end = envelope.find(b"\0\0")
    if end < 0:
        return envelope, b""
    return envelope[: end + 1], envelope[end + 2 :].partition(b"\0")[0]


def with_dsn(envelope: bytes | bytearray, end: int) -> bytes:
    """An envelope as the queue keeps it; `end` is where the last record ends, and everything behind it may be rubbish.

    Without wishes that is the records alone, and else a NUL and the list with a NUL behind them.
    """
    records = bytes(envelope[:end])
    if len(envelope) <= end + 2:
        return records
    text, is_whole, _ = bytes(envelope[end + 1 :]).partition(b"\0")
    dsn = render_dsn(parse_dsn(text)) if is_whole else b""
    return b"%b\0%b\0" % (records, dsn) if dsn else records
