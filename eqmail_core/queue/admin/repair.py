"""Checks a queue for damage, repairs it, and removes messages from it, while no scheduler runs.

Works on open descriptors and never follows links: the folders belong to accounts that the caller, root, must not
trust.

Source: queue.md 3.1, 3.2; programs.md (qmail-fixq, qmail-upq).
"""

import grp
import os
import stat

from eqmail_core.queue.format.tree import (
    FIFO,
    FILE,
    FOLDER,
    MARKS,
    MESSAGE_FILES,
    SERVICE_FILES,
    QueueNode,
    queue_tree,
    split_folders,
)
from eqmail_core.system.role_ids import account_numbers, uid_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from eqmail_core.site.layout import QueuePaths
    from eqmail_core.site.site import Site

_TYPES = {FOLDER: stat.S_IFDIR, FILE: stat.S_IFREG, FIFO: stat.S_IFIFO}
_MAX_LINKS = 2
_SAFELY = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class Findings:
    """Results of a check: each True if correct."""

    __slots__ = ("modes", "split", "user_lookup")

    def __init__(self, split: bool, user_lookup: bool, modes: bool) -> None:
        self.split = split
        self.user_lookup = user_lookup
        self.modes = modes


def examine(site: "Site") -> Findings:
    """Compare the queue with its intended layout.

    Fails: OSError.
    """
    gid = _group(site)
    user_lookup = modes = True
    for node in queue_tree(site):
        try:
            found = os.lstat(node.path)
        except FileNotFoundError:
            user_lookup = modes = False
            continue
        user_lookup = user_lookup and (found.st_uid, found.st_gid) == (uid_of(site, node.role), gid)
        modes = modes and found.st_mode == (_TYPES[node.kind] | node.mode)
    for name, path in message_files(site):
        user_lookup = user_lookup and os.lstat(path).st_uid == uid_of(site, MESSAGE_FILES[name][0])
    expected = {str(part) for part in range(site.split)}
    split = all(
        set(_entries(f"{site.queue.root}/{name}", want_folders=True)) == expected for name in split_folders(site)
    )
    return Findings(split, user_lookup, modes)


def repair(site: "Site") -> None:
    """Create what is missing, move misplaced files, set owners and modes; contents stay.

    Fails: OSError; KeyError("user NAME") where an account is missing.  Everything done until then is an
    improvement; run it again.
    """
    account_numbers(site)
    gid = _group(site)
    for node in queue_tree(site):
        _create(node)
        _set_permissions(node.path, _TYPES[node.kind], uid_of(site, node.role), gid, node.mode)
    resplit(site)
    for name in split_folders(site):
        folder = f"{site.queue.root}/{name}"
        for part in _entries(folder, want_folders=True):
            if not (part.isdigit() and int(part) < site.split) and not os.listdir(f"{folder}/{part}"):
                os.rmdir(f"{folder}/{part}")
    for name, path in list(message_files(site)):
        role, mode = MESSAGE_FILES[name]
        mark = os.lstat(path).st_mode & MARKS.get(name, 0)
        _set_permissions(path, stat.S_IFREG, uid_of(site, role), -1, mode | mark)
    for name, path in service_files(site):
        role, mode = SERVICE_FILES[name]
        _set_permissions(path, stat.S_IFREG, uid_of(site, role), -1, mode)


def resplit(site: "Site") -> int:
    """Move every file of a message to the folder that its number requires; return how many were moved.

    Fails: OSError.
    """
    moved = 0
    for name, path in list(message_files(site)):
        number = os.path.basename(path)
        if name not in split_folders(site) or not number.isdigit():
            continue
        right = f"{site.queue.root}/{name}/{int(number) % site.split}/{number}"
        if path != right:
            os.rename(path, right)
            moved += 1
    return moved


def remove_message(queue: "QueuePaths", number: int) -> bool:
    """Remove a message from the queue; False if there is none with this number.

    The order leaves at every moment a state that the scheduler completes or cleans up by itself.
    Fails: OSError.
    """
    found = False
    for path in (
        queue.bounce(number),
        queue.channel("local", number),
        queue.channel("remote", number),
        queue.intd(number),
        queue.todo(number),
        queue.info(number),
        queue.mess(number),
    ):
        try:
            os.unlink(path)
            found = True
        except FileNotFoundError:
            pass
    return found


def message_files(site: "Site") -> "Iterator[tuple[str, str]]":
    """Yield folder name and path of every file of a message, misplaced ones included."""
    for name in MESSAGE_FILES:
        folder = f"{site.queue.root}/{name}"
        yield from ((name, f"{folder}/{entry}") for entry in _entries(folder, want_folders=False))
        for part in _entries(folder, want_folders=True):
            inner = _entries(f"{folder}/{part}", want_folders=False)
            yield from ((name, f"{folder}/{part}/{entry}") for entry in inner)


def service_files(site: "Site") -> "Iterator[tuple[str, str]]":
    """Yield folder name and path of every file of the queue service itself."""
    for name in SERVICE_FILES:
        folder = f"{site.queue.root}/{name}"
        yield from ((name, f"{folder}/{entry}") for entry in _entries(folder, want_folders=False))


def _entries(folder: str, want_folders: bool) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False) == want_folders]
    except FileNotFoundError:
        return []


def _create(node: QueueNode) -> None:
    try:
        if node.kind == FOLDER:
            os.mkdir(node.path, 0o700)
        elif node.kind == FIFO:
            os.mkfifo(node.path, 0o600)
        else:
            fd = os.open(node.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            os.ftruncate(fd, node.size)
            os.close(fd)
    except FileExistsError:
        pass


def _set_permissions(path: str, kind: int, uid: int, gid: int, mode: int) -> None:
    """Set owner and mode of `path` if it is of this kind and is no link to a foreign file."""
    fd = os.open(path, _SAFELY)
    try:
        found = os.fstat(fd)
        if stat.S_IFMT(found.st_mode) != kind or (kind == stat.S_IFREG and found.st_nlink > _MAX_LINKS):
            raise FileExistsError(f"{path} is something else")
        if found.st_uid != uid or gid not in (-1, found.st_gid):
            os.fchown(fd, uid, gid)
        if stat.S_IMODE(found.st_mode) != mode:
            os.fchmod(fd, mode)
    finally:
        os.close(fd)


def _group(site: "Site") -> int:
    return os.getgid() if site.single_user else grp.getgrnam(site.accounts.groups[0]).gr_gid
