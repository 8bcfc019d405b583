"""What puts copies and names on the disk, for many at once, and keeps the reports that wait for it.

Copies are on the disk before any is named in new/; names are on the disk after the next group's barrier, or after
`settle`.  Up to a few files of a disk are flushed one by one; a barrier over the whole disk costs more than that.

Fails: OSError when something cannot be put on the disk; the process must end then, so that the spawner learns that
these reports are in doubt.
Source: architecture section 7, "Maildir"; ADR 13.
"""

import time

from eqmail_core.mailbox.maildir import Maildir, MaildirFile
from eqmail_core.system.kernel import sync_file_system

_FEW = 2

# How long names may wait for a barrier that comes anyway, and how many.  The journal keeps the messages meanwhile, so
# this costs memory and no safety; a flush of their own per message would double the flushes of a trickle of mail.
_LINGER_S = 0.25
_LINGERING = 512


class SyncBatch:
    """The names that are not on the disk yet: open folders by disk, and the ids of the reports that wait for them."""

    __slots__ = ("_flush_at", "_names", "_waiting")

    def __init__(self) -> None:
        self._names: dict[int, _Disk] = {}
        self._waiting: list[int] = []
        self._flush_at = 0.0

    @property
    def flush_in_s(self) -> float | None:
        """Seconds until `settle` is due; None while every report is durable."""
        if not self._waiting:
            return None
        return max(0.0, self._flush_at - time.monotonic()) if len(self._waiting) < _LINGERING else 0.0

    def sync(self, copies: list[MaildirFile]) -> list[int]:
        """Put the copies of a group on the disk, and where that takes a barrier all names of before; ids now durable.

        Fails: OSError; then the group must not be named, and nothing has become durable.
        """
        if len(copies) <= _FEW:
            for copy in copies:
                copy.sync()
            return []
        disks = {copy.maildir.identity()[0]: copy.maildir.new for copy in copies}
        for fd in disks.values():
            sync_file_system(fd)
        for disk, names in self._names.items():
            if disk not in disks:
                names.sync()
        return self._all_settled()

    def named(self, number: int) -> None:
        """The copies of a report have got their names."""
        if not self._waiting:
            self._flush_at = time.monotonic() + _LINGER_S
        self._waiting.append(number)

    def hold_open(self, maildir: Maildir) -> None:
        """Names were given in this Maildir, which is ours from now on."""
        disk, inode = maildir.identity()
        self._names.setdefault(disk, _Disk()).add(inode, maildir)

    def flush(self) -> list[int]:
        """Put the names on the disk that are not; the ids whose reports are durable now."""
        for names in self._names.values():
            names.sync()
        return self._all_settled()

    def _all_settled(self) -> list[int]:
        for names in self._names.values():
            names.close()
        settled, self._names, self._waiting = self._waiting, {}, []
        return settled


class _Disk:
    """The folders of one disk with names to flush; of many, one is enough."""

    __slots__ = ("_are_many", "_folders")

    def __init__(self) -> None:
        self._folders: dict[int, Maildir] = {}
        self._are_many = False

    def add(self, inode: int, maildir: Maildir) -> None:
        if inode in self._folders:
            maildir.close()
        elif len(self._folders) < _FEW:
            self._folders[inode] = maildir
        else:
            self._are_many = True
            maildir.close()

    def sync(self) -> None:
        for maildir in self._folders.values():
            if self._are_many:
                sync_file_system(maildir.new)
                return
            maildir.sync()

    def close(self) -> None:
        for maildir in self._folders.values():
            maildir.close()
