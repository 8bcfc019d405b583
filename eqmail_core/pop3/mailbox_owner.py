"""The owner of the mailbox of a login: the user to whom mail for its address is delivered, without an extension.

Source: delivery.md 5.1; cr.yp.to/checkpwd/interface.html.
"""

import os

from eqmail_core.queue.format.channels import LOCAL
from eqmail_core.queue.routing import Routes
from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_controls
from eqmail_core.system.privileges import PrivilegeError, become_user
from eqmail_core.users.database import find_user
from eqmail_core.users.getpw import find_among_accounts, find_in_single_user_site
from eqmail_core.users.user import LookupFailed, User


def find_mailbox_owner(site: Site, login: bytes) -> User | None:
    """Return the user that has the mailbox of a login, an address or a local part; None if no user is its own.

    Fails: LookupFailed, OSError.
    """
    local = login
    if b"@" in login:
        controls = read_controls(site)
        tables = controls.locals or (), controls.percenthack or (), controls.virtualdomains or {}
        channel, address = Routes(controls.envnoathost, *tables).route(login)
        if channel != LOCAL:
            return None
        local = address.rpartition(b"@")[0]
    find = find_in_single_user_site if site.single_user else find_among_accounts
    user = find_user(site, local) or find(site, local)
    is_root = user.uid == 0 and not site.single_user
    return None if is_root or user.dash or user.ext else user


def become_owner(site: Site, login: bytes) -> dict[bytes, bytes]:
    """Become the owner of the mailbox of a login, in its home; returns its variables, none if there is no owner.

    Fails: ValueError where the owner is unknown for now, or cannot be become; OSError.
    """
    try:
        user = find_mailbox_owner(site, login)
        if user is None:
            return {}
        if os.geteuid() == 0:
            become_user(user.uid, user.gid)
    except (LookupFailed, PrivilegeError) as error:
        raise ValueError(f"no owner of the mailbox: {error}") from error
    os.chdir(user.home)
    return {b"USER": user.name, b"HOME": user.home, b"SHELL": b"/bin/sh"}
