"""DSN parameters, SMTPUTF8 and REQUIRETLS as parameters of MAIL and RCPT: parsing and rendering.

Source: RFC 3461 section 4 (RET, ENVID, NOTIFY, ORCPT); RFC 6531 section 3.4 (SMTPUTF8).
"""

from eqmail_core.dsn.parameters import (
    DELAY,
    FAILURE,
    FULL,
    HEADER_ONLY,
    NEVER,
    SUCCESS,
    DsnParameters,
    RecipientDsn,
    is_envid,
    is_orcpt,
)
from eqmail_core.dsn.xtext import encode_xtext

_RET = {b"FULL": FULL, b"HDRS": HEADER_ONLY}
_NOTIFY = {b"SUCCESS": SUCCESS, b"FAILURE": FAILURE, b"DELAY": DELAY}
_WORDS = {letter: word for word, letter in {**_RET, **_NOTIFY, b"NEVER": NEVER}.items()}


class BadParameter(ValueError):
    """A known parameter with an invalid value, or one given twice."""


def read_mail(
    parameters: bytes, reads_dsn: bool, reads_utf8: bool, reads_requiretls: bool = False
) -> DsnParameters | None:
    """Parse the parameters of a MAIL command; None if there are no known ones.

    Unknown parameters are ignored.
    Fails: BadParameter.
    """
    dsn = DsnParameters()
    seen = set()
    for word in parameters.split():
        keyword, is_given, value = word.partition(b"=")
        name = keyword.upper()
        if name == b"SMTPUTF8" and reads_utf8:
            is_good = not is_given
            dsn.is_utf8 = True
        elif name == b"REQUIRETLS" and reads_requiretls:
            is_good = not is_given
            dsn.requires_tls = True
        elif name == b"RET" and reads_dsn:
            dsn.ret = _RET.get(value.upper(), b"")
            is_good = bool(dsn.ret)
        elif name == b"ENVID" and reads_dsn:
            dsn.envid = _upper_hex(value)
            is_good = is_envid(dsn.envid)
        else:
            continue
        if not is_good or name in seen:
            raise BadParameter
        seen.add(name)
    return dsn if seen else None


def read_recipient(parameters: bytes) -> RecipientDsn | None:
    """Parse the parameters of a RCPT command; None if there are no known ones.

    Unknown parameters are ignored.
    Fails: BadParameter.
    """
    notify: bytes | None = None
    orcpt: bytes | None = None
    for word in parameters.split():
        keyword, _, value = word.partition(b"=")
        name = keyword.upper()
        if name == b"NOTIFY":
            if notify is not None:
                raise BadParameter
            notify = read_notify(value)
        elif name == b"ORCPT":
            if orcpt is not None or not is_orcpt(_upper_hex(value)):
                raise BadParameter
            orcpt = _upper_hex(value)
    return None if notify is None and orcpt is None else RecipientDsn(notify or b"", orcpt or b"")


def read_notify(value: bytes) -> bytes:
    """Return the letters of a NOTIFY value.

    `value`: NEVER, or some of SUCCESS, FAILURE and DELAY, separated by commas.
    Fails: BadParameter.
    """
    words = value.upper().split(b",")
    if words == [b"NEVER"]:
        return NEVER
    if not _NOTIFY.keys() >= set(words):
        raise BadParameter
    return b"".join([letter for word, letter in _NOTIFY.items() if word in words])


def read_ret(value: bytes) -> bytes:
    """Return the letter of a RET value.  Fails: BadParameter."""
    try:
        return _RET[value.upper()]
    except KeyError as error:
        raise BadParameter from error


def mail_parameters(dsn: DsnParameters, knows_dsn: bool) -> bytes:
    """Render the parameters of a MAIL command; `knows_dsn`: the server announced DSN."""
    words = [b""]
    if knows_dsn and dsn.ret:
        words.append(b"RET=" + _WORDS[dsn.ret])
    if knows_dsn and dsn.envid:
        words.append(b"ENVID=" + dsn.envid)
    if dsn.is_utf8:
        words.append(b"SMTPUTF8")
    if dsn.requires_tls:
        words.append(b"REQUIRETLS")
    return b" ".join(words)


def recipient_parameters(dsn: RecipientDsn) -> bytes:
    """Render the parameters of a RCPT command, for a server that announced DSN."""
    text = b""
    if dsn.notify:
        text = b" NOTIFY=" + b",".join([_WORDS[b"%c" % letter] for letter in dsn.notify])
    return text + b" ORCPT=" + dsn.orcpt if dsn.orcpt else text


def _upper_hex(text: bytes) -> bytes:
    """Convert the hexadecimal digits of xtext to upper case; some clients send lower case."""
    if b"+" not in text:
        return text
    first, *others = text.split(b"+")
    return b"+".join([first, *[part[:2].upper() + part[2:] for part in others]])


def dsn_of_options(options: list[tuple[bytes, bytes]]) -> DsnParameters:
    """Parse the options -N, -R and -V of sendmail; those of index 0 apply to each recipient.

    An ENVID that is not xtext is encoded.  Fails: BadParameter.
    """
    dsn = DsnParameters()
    for letter, argument in options:
        if letter == b"N":
            dsn.set_recipient(0, RecipientDsn(read_notify(argument)))
        elif letter == b"R":
            dsn.ret = read_ret(argument)
        else:
            dsn.envid = argument if is_envid(argument) else encode_xtext(argument)
            if not is_envid(dsn.envid):
                raise BadParameter
    return dsn
