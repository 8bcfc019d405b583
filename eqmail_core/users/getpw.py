"""Who gets the mail for a local part: accounts of the machine, or the caller where one user plays every role.

The user database comes before this; see `store.users_db`.
Fails: LookupFailed.
Source: qmail-getpw(8).
"""

import os
import pwd

from eqmail_core.site.site import Site
from eqmail_core.users.lookup import find_account
from eqmail_core.users.user import User


def account(name: bytes) -> tuple[bytes, int, int, bytes] | None:
    """Name, uid, gid and home of an account; None where there is none."""
    try:
        entry = pwd.getpwnam(os.fsdecode(name))
    except (KeyError, ValueError):
        return None
    return os.fsencode(entry.pw_name), entry.pw_uid, entry.pw_gid, os.fsencode(entry.pw_dir)


def home_owner(home: bytes) -> int:
    """The uid that owns a home.  Fails: OSError."""
    return os.stat(home).st_uid


def own_name() -> bytes:
    """The account that we run as; its number where it has no name."""
    try:
        return os.fsencode(pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:
        return b"%d" % os.getuid()


def find_among_accounts(site: Site, local: bytes) -> User:
    """The account for a local part, with alias for the rest; to be asked as qmailp, who owns nothing."""
    alias = site.accounts.user("alias").encode()
    return find_account(account, home_owner, site.break_char, alias, local)


def find_in_single_user_site(site: Site, local: bytes) -> User:
    """The caller, under the own name with the own home, and as alias with the alias home for everything else."""
    uid, gid = os.getuid(), os.getgid()
    alias = site.accounts.user("alias").encode()
    own = own_name()
    known = {alias: (alias, uid, gid, os.fsencode(site.alias))}
    found = account(own)
    if found is not None:
        known[own] = (own, uid, gid, found[3])
    return find_account(known.get, lambda _home: uid, site.break_char, alias, local)
