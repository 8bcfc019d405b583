"""Finds faults of the message files in a queue (places, names, owners) without changing anything.

A running scheduler works on meanwhile, so a file that has gone is no fault.

Fails: OSError where a folder cannot be read.
Source: queue.md 3.2, 3.3, 3.4.
"""

import os
import stat

from eqmail_core.queue.admin.repair import message_files, service_files
from eqmail_core.queue.format.tree import MARKS, MESSAGE_FILES, SERVICE_FILES, classify, split_folders
from eqmail_core.site.site import Site
from eqmail_core.system.role_ids import uid_of


class QueueFaults:
    """The faults of a queue: paths of unknown and misplaced files, and others.

    `misnamed`: pairs of a path of mess/N and its inode number, which should be N. `wrong_permissions`: path, owner or
    mode, and the right value. `broken`: for each number in no valid state, the folders that have files of it.
    """

    def __init__(self) -> None:
        self.unknown_files: list[str] = []
        self.misplaced: list[str] = []
        self.misnamed: list[tuple[str, int]] = []
        self.wrong_permissions: list[tuple[str, str, str]] = []
        self.broken: dict[int, set[str]] = {}


def find_faults(site: Site) -> QueueFaults:
    """Return all faults."""
    found, folders = QueueFaults(), dict[int, set[str]]()
    uids = {role: uid_of(site, role) for role, _ in (*MESSAGE_FILES.values(), *SERVICE_FILES.values())}
    split = split_folders(site)
    for folder, path in message_files(site):
        name = os.path.basename(path)
        if not (name.isascii() and name.isdigit()):
            found.unknown_files.append(path)
            continue
        folders.setdefault(int(name), set()).add(folder)
        part = os.path.basename(os.path.dirname(path))
        if part != (str(int(name) % site.split) if folder in split else folder):
            found.misplaced.append(path)
        inode = _check_permissions(uids, path, *MESSAGE_FILES[folder], MARKS.get(folder, 0), found)
        if folder == "mess" and inode not in (0, int(name)):
            found.misnamed.append((path, inode))
    for folder, path in service_files(site):
        _check_permissions(uids, path, *SERVICE_FILES[folder], 0, found)
    for number, present in sorted(folders.items()):
        if classify(present) is None and classify(_folders_now(site, number)) is None:
            found.broken[number] = present
    return found


def _check_permissions(uids: dict[str, int], path: str, role: str, mode: int, marks: int, found: QueueFaults) -> int:
    """Note a wrong owner or mode: too much is open, or the account that needs the file cannot use it.

    Returns the inode number, 0 for a file that has gone.
    """
    try:
        seen = os.lstat(path)
    except FileNotFoundError:
        return 0
    has, uid = stat.S_IMODE(seen.st_mode), uids[role]
    if seen.st_uid != uid:
        found.wrong_permissions.append((path, f"owner uid {seen.st_uid}", f"uid {uid}"))
    elif has & ~marks != mode:
        found.wrong_permissions.append((path, f"mode {has:04o}", f"{mode:04o}"))
    return seen.st_ino


def _folders_now(site: Site, number: int) -> set[str]:
    """Return the folders in which a message has files at this moment."""
    paths = site.queue
    places = {
        "mess": paths.mess(number),
        "todo": paths.todo(number),
        "intd": paths.intd(number),
        "info": paths.info(number),
        "local": paths.channel("local", number),
        "remote": paths.channel("remote", number),
        "bounce": paths.bounce(number),
    }
    return {name for name, path in places.items() if os.path.exists(path)}
