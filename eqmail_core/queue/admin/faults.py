"""Finds faults of the message files in a queue (places, names, owners) without changing anything.

A running scheduler works on meanwhile, so a file that has gone is no fault.

Fails: OSError where a folder cannot be read.
Source: queue.md 3.2, 3.3, 3.4.
"""

import os
import stat

from eqmail_core.queue.admin.repair import message_files
from eqmail_core.queue.format.tree import MARKS, MESSAGE_FILES, classify, split_folders
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
    uids = {role: uid_of(site, role) for role, _ in MESSAGE_FILES.values()}
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
        try:
            seen = os.lstat(path)
        except FileNotFoundError:
            continue
        role, mode = MESSAGE_FILES[folder]
        if seen.st_uid != uids[role]:
            found.wrong_permissions.append((path, f"owner uid {seen.st_uid}", f"uid {uids[role]}"))
        elif stat.S_IMODE(seen.st_mode) & ~(mode | MARKS.get(folder, 0)):
            found.wrong_permissions.append((path, f"mode {stat.S_IMODE(seen.st_mode):04o}", f"{mode:04o}"))
        if folder == "mess" and seen.st_ino != int(name):
            found.misnamed.append((path, seen.st_ino))
    for number, present in sorted(folders.items()):
        if classify(present) is None and classify(_folders_now(site, number)) is None:
            found.broken[number] = present
    return found


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
