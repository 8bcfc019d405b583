"""Who submitted a message, as facts in the list of its DSN parameters, and why the queue holds it.

SMTP and QMTP servers state the login and the address of a client that may relay: in the list that follows an envelope,
or to a program that queues for them in the variable QMAILSUBMITTER, whose value is the words of such a list. The queue
service believes them, and nobody else; for other users it states the uid.

Light.
"""

from eqmail_core.dsn.parameters import ADDRESS, LOGIN, MAX_FACT, parse_dsn
from eqmail_core.dsn.xtext import decode_xtext, encode_xtext

_MAX_BYTES = MAX_FACT // 3


def fact(value: bytes) -> bytes:
    """Return a fact as the list has it: xtext, cut to its greatest length."""
    return encode_xtext(value[:_MAX_BYTES])


def submitter_words(login: bytes | None, address: bytes) -> bytes:
    """Return the words about a client: its login, if any, and its address, b"" for an unknown one."""
    words = []
    if login:
        words.append(b"%b:%b" % (LOGIN, fact(login)))
    if address:
        words.append(b"%b:%b" % (ADDRESS, fact(address)))
    return b" ".join(words)


def with_submitter(dsn: bytes, words: bytes) -> bytes:
    """Return a list of DSN parameters, b"" for none, with these words."""
    return b"%b %b" % (dsn or b"W", words) if words else dsn


def facts_of(dsn: bytes) -> dict[bytes, bytes]:
    """Return the facts of a list by letter, decoded."""
    found = parse_dsn(dsn) if dsn else None
    return {letter: decode_xtext(value) for letter, value in found.facts.items()} if found is not None else {}
