"""Which control files the accounts of the services cannot read: root sees everything, and so would miss it.

Fails: never; an account that does not exist reads nothing here, and is a finding elsewhere.
"""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from typing import Any

from eqmail_core.control.setting import ALL, INJECT, LMTP, LOCAL, QMTPD, QUEUE, REMOTE, SEND, SMTPD, Control
from eqmail_core.site.site import Site
from eqmail_setup.installation.accounts import group_name, user_name

_ROLES = {
    SMTPD: "qmaild",
    QMTPD: "qmaild",
    SEND: "qmails",
    REMOTE: "qmailr",
    QUEUE: "qmailq",
}
"""Whose account the readers of settings have; what starts as root is not among them."""

_EVERYBODY = {INJECT, LOCAL, LMTP, *ALL}
"""Readers that any user may be."""

ANY_USER = "other users"


def unreadable_by(site: Site, control: Control[Any], path: str) -> list[str]:
    """The accounts of readers of a setting that may not read its file, each once."""
    try:
        found = os.stat(path)
    except OSError:
        return []
    if site.single_user or not stat.S_ISREG(found.st_mode):
        return []
    expected = dict.fromkeys(site.accounts.user(_ROLES[reader]) for reader in control.used_by if reader in _ROLES)
    names = [name for name in expected if not _may_read(name, found)]
    if _EVERYBODY & set(control.used_by) and not found.st_mode & 0o004:
        names.append(ANY_USER)
    return names


def permissions_text(path: str) -> str:
    """Owner, group and mode of a file, for people; "" where it cannot be looked at."""
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f"{user_name(found.st_uid)}:{group_name(found.st_gid)} {stat.S_IMODE(found.st_mode):04o}"


def _may_read(name: str, found: os.stat_result) -> bool:
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        return True
    if account.pw_uid in (0, found.st_uid):
        return account.pw_uid == 0 or bool(found.st_mode & 0o400)
    in_group = found.st_gid in set(_groups(name, account.pw_gid))
    return bool(found.st_mode & (0o040 if in_group else 0o004))


def _groups(name: str, primary: int) -> Iterator[int]:
    yield primary
    yield from (group.gr_gid for group in grp.getgrall() if name in group.gr_mem)
