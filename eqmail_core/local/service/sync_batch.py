"""Syncs copies and names to the disk in batches, and tracks the reports that wait for it.

Copies are on the disk before any copy gets its name in new/.  Names are on the disk after the sync of the next batch,
or after `flush`.  Up to `_FEW` files of a disk are flushed one by one; a sync of the whole file system costs more.

Fails: OSError when something cannot be synced; the process must end then.  The spawner learns from its end that these
reports are in doubt.
Source: docs/INTERNALS.md section 6; ADR 13.
"""

import time

from eqmail_core.mailbox.maildir import Maildir, MaildirFile
from eqmail_core.system.kernel import sync_file_system

_FEW = 2

# How long, and how many, names may wait for the next sync.  The journal keeps the messages meanwhile, so waiting costs
# memory and no safety; a separate flush per message would double the flushes at low mail rates.
_LINGER_S = 0.25
_LINGERING = 512


class SyncBatch:
    """Names that are not on the disk yet: open folders by disk, and ids of waiting reports."""

    __slots__ = ("_flush_at", "_names", "_waiting")

    def __init__(self) -> None:
        self._names: dict[int, _Disk] = {}
        self._waiting: list[int] = []
        self._flush_at = 0.0

    @property
    def flush_in_s(self) -> float | None:
        """Seconds until `flush` is due; None while every report is durable."""
        if not self._waiting:
            return None
        return max(0.0, self._flush_at - time.monotonic()) if len(self._waiting) < _LINGERING else 0.0

    def sync(self, copies: list[MaildirFile]) -> list[int]:
        """Sync the copies of a batch; return the ids that are durable now.

        If that syncs whole file systems, all earlier names are synced too.
        Fails: OSError; then the copies must not be named, and nothing has become durable.
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
        return self._all_durable()

    def named(self, number: int) -> None:
        """Record that the copies of a report have got their names."""
        if not self._waiting:
            self._flush_at = time.monotonic() + _LINGER_S
        self._waiting.append(number)

    def hold_open(self, maildir: Maildir) -> None:
        """Take over a Maildir in which names were given, until they are synced."""
        disk, inode = maildir.identity()
        self._names.setdefault(disk, _Disk()).add(inode, maildir)

    def flush(self) -> list[int]:
        """Sync names that are not on the disk yet; return the ids whose reports are durable now."""
        for names in self._names.values():
            names.sync()
        return self._all_durable()

    def _all_durable(self) -> list[int]:
        for names in self._names.values():
            names.close()
        durable, self._names, self._waiting = self._waiting, {}, []
        return durable


class _Disk:
    """The folders of one disk with names to flush; of many folders, one is enough."""

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
