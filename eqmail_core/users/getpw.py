"""Who gets the mail for a local part: accounts of the machine, or the caller where one user plays every role.

The user database comes before this; see `store.users_db`.
Fails: LookupFailed.
Source: qmail-getpw(8).
"""

import os

from eqmail_core.site.site import Site
from eqmail_core.users.accounts import account, home_owner, own_name
from eqmail_core.users.lookup import find_account
from eqmail_core.users.user import User


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
