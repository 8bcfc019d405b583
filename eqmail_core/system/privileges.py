"""Assuming a role permanently: the first act of every service and of every delivery to a user.

Source: docs/SECURITY.md; OpenSMTPD's order of giving up root.
"""

import os
import pwd

from eqmail_core.site.site import Site
from eqmail_core.system import kernel


class PrivilegeError(Exception):
    """The process could not assume the role, or could undo it; it must end."""


def assume_role(site: Site, role: str) -> None:
    """Change to the account of `role` permanently, verified; the process ends with its parent.

    Sets groups, gid and uid.  In a single-user installation the caller has every role.
    Fails: PrivilegeError.
    """
    parent = os.getppid()
    if not site.single_user:
        _become_role(site, role)
    kernel.end_with_parent()
    if os.getppid() != parent:
        raise PrivilegeError("the parent is gone")


def _become_role(site: Site, role: str) -> None:
    import grp

    user, group = site.accounts.user(role), site.accounts.group(role)
    try:
        uid, gid = pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid
    except KeyError as missing:
        raise PrivilegeError(f"{role}: {missing}; create the accounts with: eqmail mkusers") from missing
    become_user(uid, gid)


def become_user(uid: int, gid: int) -> None:
    """Become `uid` and `gid` without supplementary groups, and verify that root is unreachable.

    Fails: PrivilegeError.
    """
    if os.getuid() != 0 and (os.getuid(), os.geteuid()) != (uid, uid):
        raise PrivilegeError(f"must be started by root to become uid {uid}")
    try:
        if os.getuid() == 0:
            os.setgroups([gid])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
    except (OSError, OverflowError) as error:
        raise PrivilegeError(f"cannot become uid {uid}: {error}") from error
    if uid == 0:
        return
    try:
        os.setuid(0)
    except PermissionError:
        pass
    else:
        raise PrivilegeError(f"uid {uid} could become root again")
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (gid, gid, gid):
        raise PrivilegeError(f"is not uid {uid} and gid {gid} after all")


class TemporaryIdentity:
    """`with TemporaryIdentity(uid, gid)`: root touches files with the rights of that account.

    The real and the saved user stay root, so no process of the account may send signals to this one or trace it.  The
    working directory is / afterwards, so that no file system of a user stays busy.
    Fails: PrivilegeError when the switch failed; then nothing has changed.
    """

    __slots__ = ("_gid", "_uid")

    def __init__(self, uid: int, gid: int) -> None:
        self._uid = uid
        self._gid = gid

    def __enter__(self) -> None:
        uid, gid = self._uid, self._gid
        try:
            os.setgroups([gid])
            os.setegid(gid)
            os.seteuid(uid)
        except (OSError, OverflowError) as error:
            _act_as_root()
            raise PrivilegeError(f"cannot act as uid {uid}: {error}") from error
        if uid == 0 or os.geteuid() != uid or os.getegid() != gid:
            _act_as_root()
            raise PrivilegeError(f"does not act as uid {uid} and gid {gid} after all")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        _act_as_root()
        os.chdir("/")


def _act_as_root() -> None:
    os.seteuid(0)
    os.setegid(0)
    os.setgroups([])


def keep_only_changing_users() -> None:
    """Drop all privileges of root permanently, except those to act as other users.

    An executed program cannot regain them.  Between users the process has only the rights of a file owner with uid 0.
    Fails: OSError.
    """
    kernel.keep_capabilities(kernel.CAP_SETGID, kernel.CAP_SETUID)
