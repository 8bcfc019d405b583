"""The account for a local part: a system account, or the caller in a single-user site.

The user database takes precedence; see `users.database`.
Fails: LookupFailed.
Source: qmail-getpw(8).
"""

import os
import pwd

from eqmail_core.site.site import Site
from eqmail_core.users.lookup import find_account
from eqmail_core.users.user import User


def account(name: bytes) -> tuple[bytes, int, int, bytes] | None:
    """Return name, uid, gid and home of an account; None if it does not exist."""
    try:
        entry = pwd.getpwnam(os.fsdecode(name))
    except (KeyError, ValueError):
        return None
    return os.fsencode(entry.pw_name), entry.pw_uid, entry.pw_gid, os.fsencode(entry.pw_dir)


def home_owner(home: bytes) -> int:
    """Return the uid that owns a home directory.  Fails: OSError."""
    return os.stat(home).st_uid


def own_name() -> bytes:
    """Return the name of the account that this process runs as; its uid if it has no name."""
    try:
        return os.fsencode(pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:
        return b"%d" % os.getuid()


def find_among_accounts(site: Site, local: bytes) -> User:
    """Return the account for a local part; the alias user for all others.

    The caller runs as qmailp, which owns no files.
    """
    alias = site.accounts.user("alias").encode()
    return find_account(account, home_owner, site.break_char, alias, local)


def find_in_single_user_site(site: Site, local: bytes) -> User:
    """Return the calling user: with its own home for its own name, else as alias.

    The alias user has the caller's ids and the alias home.
    """
    uid, gid = os.getuid(), os.getgid()
    alias = site.accounts.user("alias").encode()
    own = own_name()
    known = {alias: (alias, uid, gid, os.fsencode(site.alias))}
    found = account(own)
    if found is not None:
        known[own] = (own, uid, gid, found[3])
    return find_account(known.get, lambda _home: uid, site.break_char, alias, local)
