"""Preprocessing of a message to S5: writes info, local and remote.

The source is todo/N or the scheduler's memory.
Long because preprocessing and spilling write the same files in the same order.
Fails: QueueFileError, whose text is the warning to log; the next attempt first removes what a failed one wrote.
Source: queue.md 3.4, 3.7 "todo step" (qmail-send.c todo_do).
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from eqmail_core.dsn.parameters import HELD, parse_dsn, render_dsn
from eqmail_core.mail.message_identity import MessageIdentity
from eqmail_core.queue.files import LIST_MODE, READ, QueueFileError, QueueFiles
from eqmail_core.queue.format.channels import CHANNELS, HELD_UNTIL
from eqmail_core.queue.format.info import render_info
from eqmail_core.queue.format.recipient_list import MARK_TODO, SENDER, records
from eqmail_core.queue.format.send_log import LogLines
from eqmail_core.queue.message_match import confirm_match
from eqmail_core.system.files import CHUNK, remove_for_good, sync_folder, write_all
from eqmail_core.text.lines import leading_number

T = TypeVar("T")

_NS = 1_000_000_000
_EXCL = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_UID, _PID = b"u"[0], b"p"[0]


class Preprocessed:
    """A preprocessed message: the channels that have a recipient, and whether it waits to be released."""

    __slots__ = ("channels", "is_held")

    def __init__(self, channels: list[int], is_held: bool) -> None:
        self.channels = channels
        self.is_held = is_held


class SpillFiles:
    """The files of a message to spill from memory.

    `lists`: channel, content and due time of each list.
    `dsn`: the DSN parameters as info/N stores them.
    """

    __slots__ = ("dsn", "failures", "identity", "lists", "number", "sender")

    def __init__(
        self,
        identity: MessageIdentity,
        sender: bytes,
        lists: list[tuple[int, bytes, int]],
        failures: bytes,
        dsn: bytes = b"",
    ) -> None:
        self.identity = identity
        self.number = identity.number
        self.sender = sender
        self.lists = lists
        self.failures = failures
        self.dsn = dsn


class Preprocessor:
    """Writes the files of new messages; `add_line` collects the log lines about them."""

    def __init__(self, files: QueueFiles, lines: LogLines) -> None:
        self.files = files
        self.lines = lines

    def preprocess(
        self, number: int, route: Callable[[bytes], tuple[int, bytes]], add_line: Callable[[bytes], None]
    ) -> "Preprocessed":
        """Turn todo/N into info, local and remote, all on the disk.

        todo/N itself stays: once the cleaner has removed it the message is S5.
        Fails: QueueFileError.
        """
        paths, short = self.files.paths, self.files.short
        todo, mess, info = paths.todo(number), paths.mess(number), paths.info(number)
        lists = [paths.channel(name, number) for name in CHANNELS]
        envelope = _attempt(b"unable to open", short(todo), os.open, todo, READ)
        files: dict[str, _ListFile] = {}
        try:
            size = _attempt(b"unable to stat", short(mess), os.stat, mess).st_size
            for path in (info, *lists, paths.bounce(number)):
                _attempt(b"unable to unlink", short(path), remove_for_good, path)
            files[info] = self._create(info)
            add_line(self.lines.new_message(number))
            uid = qp = 0
            identity: MessageIdentity | None = None
            about_said = False
            dsn = _DsnCollector()
            chunks = _chunks(envelope, short(todo))
            for _, letter, text in records(chunks):
                if letter == MARK_TODO:
                    channel, address = route(text)
                    path = lists[channel]
                    if path not in files:
                        files[path] = self._create(path)
                    files[path].write(b"T%b\0" % address)
                    dsn.add(channel, len(address) + 2)
                elif letter == _UID:
                    uid = leading_number(text) or 0
                    identity = MessageIdentity.from_born_text(number, text.partition(b" ")[2])
                elif letter == _PID:
                    qp = leading_number(text) or 0
                    dsn.text = text.partition(b" ")[2]
                elif letter == SENDER:
                    files[info].write(render_info(text))
                    files[info].flush()
                    add_line(self.lines.about_message(number, size, text, qp, uid))
                    about_said = True
                else:
                    raise QueueFileError(b"unknown record type in " + short(todo))
            if not about_said:
                raise QueueFileError(b"no sender in " + short(todo))
            files[info].write(dsn.by_lists())
            if identity is not None:
                files[info].flush()
                files[info].date(identity.born_ns)
            sync_name = _SyncedFolders(self.files)
            for path in lists if dsn.is_held else ():
                if path in files:
                    files[path].flush()
                    files[path].date(HELD_UNTIL * _NS)
            for path in (info, *lists):
                if path in files:
                    files[path].sync()
                    sync_name(path)
            confirm_match(self.files, number)
        finally:
            os.close(envelope)
            for file in files.values():
                file.close()
        return Preprocessed([channel for channel, path in enumerate(lists) if path in files], dsn.is_held)

    def place(self, placements: list[SpillFiles]) -> list[QueueFileError | None]:
        """Write the files of messages whose mess/N is on the disk; return one result each.

        Each message is written completely or not at all.

        info/N appears last, in one step and complete, when everything else of the message is on the disk. So after a
        crash an existing info/N makes every other copy of the message unnecessary.
        """
        results: list[QueueFileError | None] = [None] * len(placements)

        def each(act: Callable[[SpillFiles], None]) -> None:
            for index, files in enumerate(placements):
                if results[index] is None:
                    try:
                        act(files)
                    except QueueFileError as trouble:
                        results[index] = trouble

        each(self._remove_info)
        each(self._write_lists)
        each(self._sync_list_folders())
        each(self._write_info)
        each(self._sync_info_folders())
        return results

    def _remove_info(self, files: SpillFiles) -> None:
        """Remove info/N of messages whose rewrite failed.

        It must not look complete while their lists change.
        """
        path = self.files.paths.info(files.number)
        _attempt(b"unable to unlink", self.files.short(path), remove_for_good, path)

    def _write_lists(self, files: SpillFiles) -> None:
        paths = self.files.paths
        contents = {paths.channel(CHANNELS[channel], files.number): (text, due) for channel, text, due in files.lists}
        for name in CHANNELS:
            path = paths.channel(name, files.number)
            _attempt(b"unable to unlink", self.files.short(path), remove_for_good, path)
            if path in contents:
                text, due = contents[path]
                self._write_whole(path, text, due * _NS)
        bounce = paths.bounce(files.number)
        _attempt(b"unable to unlink", self.files.short(bounce), remove_for_good, bounce)
        if files.failures:
            self._write_whole(bounce, files.failures, 0)

    def _write_info(self, files: SpillFiles) -> None:
        path = self.files.paths.info(files.number)
        temporary = f"{path}.tmp"
        _attempt(b"unable to unlink", self.files.short(temporary), remove_for_good, temporary)
        self._write_whole(temporary, render_info(files.sender, files.dsn), files.identity.born_ns)
        _attempt(b"unable to create", self.files.short(path), os.rename, temporary, path)
        confirm_match(self.files, files.number)

    def _write_whole(self, path: str, text: bytes, mtime_ns: int) -> None:
        file = self._create(path)
        try:
            file.write(text)
            file.flush()
            if mtime_ns:
                file.date(mtime_ns)
            file.sync()
        finally:
            file.close()

    def _sync_list_folders(self) -> Callable[[SpillFiles], None]:
        """Return a function that flushes the names of a message's lists.

        Each folder is flushed once for a whole group.
        """
        paths, sync = self.files.paths, _SyncedFolders(self.files)

        def act(files: SpillFiles) -> None:
            for channel, _, _ in files.lists:
                sync(paths.channel(CHANNELS[channel], files.number))
            if files.failures:
                sync(paths.bounce(files.number))

        return act

    def _sync_info_folders(self) -> Callable[[SpillFiles], None]:
        sync = _SyncedFolders(self.files)
        return lambda item: sync(self.files.paths.info(item.number))

    def _create(self, path: str) -> "_ListFile":
        name = self.files.short(path)
        return _ListFile(_attempt(b"unable to create", name, os.open, path, _EXCL, LIST_MODE), name)


class _DsnCollector:
    """Collects where the recipients of a todo file with DSN parameters are in its lists.

    Call `add` per recipient, with its size in the list. `is_held`, after `by_lists`: the message waits to be released.
    """

    __slots__ = ("_offsets", "_places", "is_held", "text")

    def __init__(self) -> None:
        self.text = b""
        self.is_held = False
        self._offsets = [0] * len(CHANNELS)
        self._places: list[tuple[int, int]] = []

    def add(self, channel: int, size: int) -> None:
        """Note that the next recipient is at the end of this channel's list."""
        if self.text:
            self._places.append((channel, self._offsets[channel]))
            self._offsets[channel] += size

    def by_lists(self) -> bytes:
        """Return the record for info/N."""
        dsn = parse_dsn(self.text)
        self.is_held = dsn is not None and HELD in dsn.facts
        if dsn is None:
            return b""
        text = render_dsn(dsn.by_lists(dict(enumerate(self._places))))
        return text + b"\0" if text else b""


class _ListFile:
    """A file that is written in large pieces."""

    __slots__ = ("_buffer", "_name", "fd")

    def __init__(self, fd: int, name: bytes) -> None:
        self.fd = fd
        self._name = name
        self._buffer = bytearray()

    def write(self, record: bytes) -> None:
        """Add a record."""
        self._buffer += record
        if len(self._buffer) >= CHUNK:
            self.flush()

    def flush(self) -> None:
        """Write the buffer.  Fails: QueueFileError."""
        _attempt(b"trouble writing to", self._name, write_all, self.fd, bytes(self._buffer))
        self._buffer.clear()

    def date(self, mtime_ns: int) -> None:
        """Set the modification time; a later write changes it again.  Fails: QueueFileError."""
        _attempt(b"unable to utime", self._name, partial(os.utime, self.fd, ns=(mtime_ns, mtime_ns)))

    def sync(self) -> None:
        """Flush everything to the disk.  Fails: QueueFileError."""
        self.flush()
        _attempt(b"trouble fsyncing", self._name, os.fsync, self.fd)

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)


def _attempt(what: bytes, name: bytes, act: Callable[..., T], *arguments: object) -> T:
    try:
        return act(*arguments)
    except OSError as error:
        raise QueueFileError(what + b" " + name) from error


def _chunks(fd: int, name: bytes) -> Iterator[bytes]:
    while chunk := _attempt(b"trouble reading", name, os.read, fd, CHUNK):
        yield chunk


class _SyncedFolders:
    """Flushes the folder of a file once per group of writes; make a new one for every group."""

    def __init__(self, files: QueueFiles) -> None:
        self._files = files
        self._synced: set[str] = set()

    def __call__(self, path: str) -> None:
        folder = os.path.dirname(path)
        if folder not in self._synced:
            _attempt(b"trouble fsyncing", self._files.short(folder), sync_folder, folder)
            self._synced.add(folder)
