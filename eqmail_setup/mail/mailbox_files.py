"""The files of a mailbox: its home, its Maildir, the .qmail file that delivers there, and its quota.

Fails: EqmailError where something else is in the way.
Source: maildir(5); the Maildir++ description of Courier.
"""

import os
from collections.abc import Iterator

from eqmail_core.mailbox import maildirsize
from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError
from eqmail_setup.installation.accounts import caller, group_name, user_name
from eqmail_setup.installation.manifest import OwnershipPolicy
from eqmail_setup.installation.manifest_nodes import PathKind, Permissions
from eqmail_setup.mail.assign_file import AssignEntry
from eqmail_setup.mail.users import PARTS
from eqmail_setup.transaction.filesystem import Filesystem, snapshot
from eqmail_setup.transaction.operations import CreateNode, RemoveFile, WriteFile
from eqmail_setup.transaction.plan import Change

QUOTA_FILE = "maildirsize"


def plan_folders(
    site: Site, filesystem: Filesystem, home: str, entry: AssignEntry, maildir: str, quota_bytes: int
) -> Iterator[Change]:
    """The folder of the domain, the home, the Maildir, the .qmail file and the quota, as far as they are missing."""
    common, own = OwnershipPolicy(site, caller())("owner", 0o755), owner_of(entry, 0o700)
    folders = [(os.path.dirname(home), common), (home, own), *((f"{home}/{maildir}{part}", own) for part in PARTS)]
    for path, permissions in folders:
        seen = filesystem.stat(path)
        if seen is None:
            node = CreateNode(path, PathKind.DIRECTORY, permissions)
            yield Change(filesystem.display_path(path), "missing", "a directory", node)
        elif seen.kind != PathKind.DIRECTORY:
            raise EqmailError(f"{filesystem.display_path(path)}: {seen.kind}, not a directory; move it away")
    if snapshot(f"{home}/.qmail", filesystem) is None:
        write = WriteFile(f"{home}/.qmail", f"./{maildir}/\n".encode(), owner_of(entry, 0o600))
        yield Change(filesystem.display_path(f"{home}/.qmail"), "missing", f"delivery to {maildir}", write)
    if quota_bytes:
        yield from plan_quota_file(filesystem, f"{home}/{maildir}", entry, quota_bytes)


def plan_quota_file(filesystem: Filesystem, maildir: str, entry: AssignEntry, quota_bytes: int) -> Iterator[Change]:
    """Actions after which a Maildir takes no more than so many bytes; 0 for no limit."""
    path = f"{maildir}/{QUOTA_FILE}"
    show, state = filesystem.display_path(path), snapshot(path, filesystem)
    if not quota_bytes:
        if state is not None:
            yield Change(show, "a quota", "absent", RemoveFile(path))
        return
    first = b"%dS" % quota_bytes
    if state is not None and state.content.partition(b"\n")[0] == first:
        return
    used = used_space(filesystem.display_path(maildir))
    write = WriteFile(path, maildirsize.render(first, used), owner_of(entry, 0o600))
    yield Change(show, "another quota" if state else "missing", f"{quota_bytes} bytes", write)


def used_space(maildir: str) -> tuple[int, int]:
    """Bytes and number of the messages in a Maildir and its folders; links are not followed."""
    size = count = 0
    for folder, _, names in os.walk(maildir):
        if os.path.basename(folder) in ("new", "cur"):
            for name in names:
                try:
                    size += os.lstat(f"{folder}/{name}").st_size
                except OSError:
                    continue  # read or moved meanwhile
                count += 1
    return size, count


def owner_of(entry: AssignEntry, mode: int) -> Permissions:
    """The owner of what lies in a mailbox."""
    return Permissions(user_name(entry.uid), group_name(entry.gid), mode)
