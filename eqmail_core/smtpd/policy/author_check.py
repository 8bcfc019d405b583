"""Whether the From field of a message names an address that the client's login may use.

Source: RFC 6409 section 6.1 (a submission server may check the authors of a message).
"""

from eqmail_core.mail.header import field_name
from eqmail_core.smtpd.policy.message_checks import MAX_HEADER, MessageChecks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from eqmail_core.mail.address_list import Token
    from eqmail_core.smtpd.policy.authority import ClientAuthority
    from eqmail_core.smtpd.policy.config import PolicyConfig

MAX_FROM = 65536
"""Most bytes of all From fields that are read; a message with more is refused."""

_LIKE_AN_ADDRESS = rb"[^\s<>()\[\],;:\"]+@[A-Za-z0-9.\x80-\xff-]+"
_FIELD_END = rb"\n(?![ \t])"


def author_check(config: "PolicyConfig", client: "ClientAuthority") -> "Callable[[bytes], bool] | None":
    """Return the test of a header, without its empty line, for messages of a client; None where there is none."""
    senders = config.sender_logins
    if senders is None:
        return None

    # Imported here and below: few servers look at authors, and every process would pay for it.
    import re

    def is_allowed(header: bytes) -> bool:
        login = client.login
        if login is None:
            return True
        fields = [field for field in re.split(_FIELD_END, header) if field_name(field) == b"from"]
        if len(header) >= MAX_HEADER or sum(map(len, fields)) > MAX_FROM:
            return False
        return all(senders.may_use(login, author) for field in fields for author in author_addresses(field))

    return is_allowed


def checks_of(config: "PolicyConfig", client: "ClientAuthority") -> MessageChecks:
    """Return what the messages of a client have to pass."""
    return MessageChecks(config.rules.size_limit, author_check(config, client))


def author_addresses(field: bytes) -> list[bytes]:
    """Return all addresses of a From field; of one that cannot be parsed, everything that looks like one."""
    import re

    from eqmail_core.mail.address_list import Unparsable, rewrite_addresses, text_of, tokenise

    found: list[bytes] = []

    def note(address: "list[Token]") -> "list[Token]":
        found.append(text_of(address))
        return address

    try:
        rewrite_addresses(tokenise(field), note)
    except Unparsable:
        found = re.findall(_LIKE_AN_ADDRESS, field.partition(b":")[2])
    return [address for address in found if address]
