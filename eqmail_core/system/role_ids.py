"""The uids of the roles; looked up by name, once per process.

Source: queue.md 3.5 (uids of submitters).
"""

import os
import pwd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.site.site import Site

NOBODY = -1
"""Stands for an account that does not exist; no process has this uid."""


def uid_of(site: "Site", role: str) -> int:
    """The uid of a role: in a single-user installation the caller's, NOBODY if missing."""
    if site.single_user:
        return os.getuid()
    try:
        return pwd.getpwnam(site.accounts.user(role)).pw_uid
    except KeyError:
        return NOBODY


def submitter_uids(site: "Site") -> tuple[int, int, int]:
    """The uids of alias, network daemon and scheduler, which are marked in Received lines.

    NOBODY in a single-user installation.
    """
    if site.single_user:
        return NOBODY, NOBODY, NOBODY
    return uid_of(site, "alias"), uid_of(site, "qmaild"), uid_of(site, "qmails")


def account_numbers(site: "Site") -> tuple[list[int], list[int]]:
    """The uids of all roles in the order of conf-users, and the gids of the groups.

    The second group comes first.
    Fails: KeyError("user NAME") or KeyError("group NAME") for an account that does not exist.
    """
    import grp

    users, groups = site.accounts.users, site.accounts.groups[::-1]
    if site.single_user:
        return [os.getuid()] * len(users), [os.getgid()] * len(groups)
    uids = [uid_of(site, role) for role in users]
    if NOBODY in uids:
        raise KeyError(f"user {list(users.values())[uids.index(NOBODY)]}")
    gids = []
    for name in groups:
        try:
            gids.append(grp.getgrnam(name).gr_gid)
        except KeyError as missing:
            raise KeyError(f"group {name}") from missing
    return uids, gids
