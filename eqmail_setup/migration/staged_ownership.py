"""Below a staging root everything belongs to the caller: whose the files of messages will be is noted here.

Fails: OSError.
"""

import os

from eqmail_core.queue.admin.repair import message_files
from eqmail_core.queue.format.tree import MARKS, MESSAGE_FILES
from eqmail_core.site.site import Site
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.manifest import OwnershipPolicy
from eqmail_setup.installation.staging import final_path, is_staged
from eqmail_setup.transaction.filesystem import Filesystem


def record_message_ownership(site: Site, filesystem: Filesystem, log: str) -> None:
    """Record owner and mode of every file of a message and of the list of copied messages; when staging only."""
    if not is_staged(site):
        return
    permissions = OwnershipPolicy(site, caller())
    if os.path.exists(log):
        filesystem.set_permissions(final_path(site, os.path.dirname(log)), permissions("owner", 0o700))
        filesystem.set_permissions(final_path(site, log), permissions("owner", 0o600))
    for folder, path in message_files(site):
        role, mode = MESSAGE_FILES[folder]
        mark = os.lstat(path).st_mode & MARKS.get(folder, 0)
        filesystem.set_permissions(final_path(site, path), permissions(role, mode | mark))
