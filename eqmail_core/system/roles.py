"""The uids that play the roles; looked up by name, once per process.

Source: queue.md 3.5 (whose mail is whose).
"""

import os
import pwd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.values.site import Site

NOBODY = -1
"""Stands for an account that does not exist; no process has this uid."""


def uid_of(site: "Site", role: str) -> int:
    """The uid of a role; in a single-user installation the caller's own; NOBODY where the account is missing."""
    if site.single_user:
        return os.getuid()
    try:
        return pwd.getpwnam(site.accounts.user(role)).pw_uid
    except KeyError:
        return NOBODY


def bringers(site: "Site") -> tuple[int, int, int]:
    """The uids of alias, network daemon and scheduler, whose mail is marked as theirs; NOBODY in a single-user home."""
    if site.single_user:
        return NOBODY, NOBODY, NOBODY
    return uid_of(site, "alias"), uid_of(site, "qmaild"), uid_of(site, "qmails")
