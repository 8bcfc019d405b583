"""Paths that a caller may trust: only root and the caller can have made, changed or replaced them.

Fails: Refusal, with the path, what is wrong with it, and what helps.
"""

import grp
import os
import stat
from collections.abc import Iterable
from functools import cache

from eqmail_setup.errors import permission_required
from eqmail_setup.installation.accounts import user_name

_OF_ADMINISTRATORS = "staff"
"""Debian's group of those who may change /usr/local, which is as much as root."""


def doubt_about(path: str) -> str:
    """Why another account could control the content of this file or folder; "" if none can."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return ""
    return _doubt(found, is_above=False)


def doubt_on_the_way_to(path: str) -> str:
    """As `doubt_about`, also for every folder above, whose owner could put another in its place; names the culprit."""
    real = os.path.realpath(path)
    parts = real.split("/")
    for number in range(2, len(parts) + 1):
        step = "/".join(parts[:number])
        try:
            found = os.stat(step)
        except FileNotFoundError:
            return ""
        doubt = _doubt(found, is_above=number < len(parts))
        if doubt:
            return f"{step}: {doubt}"
    return ""


def demand_trusted(paths: Iterable[str], use: str) -> None:
    """Refuse to continue if another account could control one of these paths; `use` names their purpose."""
    for path in paths:
        doubt = doubt_on_the_way_to(path)
        if doubt:
            me = user_name(os.geteuid())
            raise permission_required(
                f"{doubt}, so {use} could be what others want; let its owner do this, or give it to {me}"
            )


def demand_trusted_tree(folder: str, use: str) -> None:
    """The same for a folder with everything in it."""
    demand_trusted([folder], use)
    for step, folders, files in os.walk(folder):
        for name in (*folders, *files):
            doubt = doubt_about(f"{step}/{name}")
            if doubt:
                raise permission_required(f"{step}/{name}: {doubt}, so {use} could be what others want")


def _doubt(found: os.stat_result, is_above: bool) -> str:
    if found.st_uid not in (0, os.geteuid()):
        return f"belongs to {user_name(found.st_uid)}"
    if is_above and found.st_mode & stat.S_ISVTX:
        return ""  # as in /tmp: files of other accounts cannot be renamed
    if found.st_mode & 0o002:
        return "everybody can write there"
    if found.st_mode & 0o020 and found.st_gid not in _own_groups(os.geteuid()):
        return f"its group {_group(found.st_gid)} can write there"
    return ""


@cache
def _own_groups(uid: int) -> set[int]:
    """Groups without foreign members: root's, the administrators', and the caller's own of the same name."""
    own = {0}
    for name in (_OF_ADMINISTRATORS, user_name(uid)):
        try:
            own.add(grp.getgrnam(name).gr_gid)
        except KeyError:
            pass
    return own


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
