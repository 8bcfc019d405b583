"""The accounts of the system by name and by number; a number that has no name stands for itself.

Fails: KeyError for a name that the system does not know.
"""

import grp
import os
import pwd
from functools import cache

from eqmail_core.site.accounts import Accounts


@cache
def user_name(uid: int) -> str:
    """The name of a user."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@cache
def group_name(gid: int) -> str:
    """The name of a group."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def user_number(name: str) -> int:
    """The number of a user."""
    return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid


def group_number(name: str) -> int:
    """The number of a group."""
    return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid


def caller() -> tuple[str, str]:
    """Names of the user and the group that run this command."""
    return user_name(os.geteuid()), group_name(os.getegid())


def home_of(user: str) -> str:
    """The home of an account."""
    return pwd.getpwnam(user).pw_dir


def missing_accounts(accounts: Accounts) -> list[str]:
    """Names of users, then of groups, that the system does not know."""
    missing = []
    for names, find in ((accounts.users.values(), user_number), (accounts.groups, group_number)):
        for name in names:
            try:
                find(name)
            except KeyError:
                missing.append(name)
    return missing
