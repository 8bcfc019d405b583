"""Finds the user of a local part: longest match in the user database, and the account rules.

Pure: the database and the accounts are callables.

Source: delivery.md 5.1, 5.2; qmail-users(5), qmail-getpw(8).
"""

from eqmail_core.text.error_text import is_temporary
from eqmail_core.users.user import LOOKUP_DATABASE, LOOKUP_HOME_AWAY, LOOKUP_NO_ALIAS, LookupFailed, User

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_ACCOUNT_NAME = 31
"""Longest candidate for an account name, in bytes; longer ones are not looked up."""


def find_in_database(get: "Callable[[bytes], bytes | None]", local: bytes) -> User | None:
    """Return the user of `local` in the database; None if qmail-getpw must decide.

    The whole local part is looked up first, then the wildcards from long to short.
    Only prefixes whose last character ends some wildcard are looked up, and the empty prefix.
    The part of `local` after a wildcard prefix keeps its case.
    Fails: LookupFailed(117) if the database lacks its list of wildcard characters; whatever `get` raises.
    """
    endings = get(b"")
    if endings is None:
        raise LookupFailed(LOOKUP_DATABASE)
    key = b"!" + local.lower()
    found = get(key + b"\0")
    if found is not None:
        return User.from_fields(found.split(b"\0"))
    for length in range(len(key), 0, -1):
        if length == 1 or key[length - 1] in endings:
            found = get(key[:length])
            if found is not None:
                return User.from_fields((found + local[length - 1 :]).split(b"\0"))
    return None


def find_account(
    account: "Callable[[bytes], tuple[bytes, int, int, bytes] | None]",
    home_owner: "Callable[[bytes], int]",
    break_char: bytes,
    alias: bytes,
    local: bytes,
) -> User:
    """Return the account that gets mail for `local`; the alias account if no other matches.

    `account(name)` returns (name, uid, gid, home) or None. `home_owner(home)` returns a uid or raises OSError.
    An account counts if it is not root and owns its home; the longest candidate wins.
    Fails: LookupFailed(115) if a home is temporarily unavailable; LookupFailed(116) without an alias account; whatever
    `account` raises.
    """
    for length in range(len(local), -1, -1):
        rest = local[length:]
        if length > LONGEST_ACCOUNT_NAME or not (not rest or (break_char and rest.startswith(break_char))):
            continue
        found = account(local[:length].lower())
        if found is not None and found[1] != 0 and _owns_home(home_owner, found[1], found[3]):
            return User(*found, b"-" if rest else b"", rest[1:])
    found = account(alias)
    if found is None:
        raise LookupFailed(LOOKUP_NO_ALIAS)
    return User(*found, b"-", local)


def _owns_home(home_owner: "Callable[[bytes], int]", uid: int, home: bytes) -> bool:
    try:
        return home_owner(home) == uid
    except OSError as error:
        if is_temporary(error):
            raise LookupFailed(LOOKUP_HOME_AWAY) from error
        return False
