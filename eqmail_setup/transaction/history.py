"""What every run changed, written down before it begins, so that it can be undone, and a broken run is undone.

HOME/history/NUMBER.json is one run: who, when, which command, and for every path what lay there before and what lies
there after; HOME/history/blobs holds the old contents by their digest. Only the owner of the installation can read
either, because settings may hold passwords.

*Invariant.* Before a run touches anything its record and all old contents are on the disk, with the state STARTED. Each
path of a STARTED transaction holds the old content, the new content, or a later edit; recovery restores the first
back for the second and leaves the third.

Fails: OSError; Refusal for an invalid record.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, NamedTuple

from eqmail_core.system.files import read_file, write_atomically
from eqmail_setup.errors import EqmailError
from eqmail_setup.installation.manifest_nodes import PathKind, Permissions
from eqmail_setup.transaction.filesystem import Filesystem, PathSnapshot, snapshot
from eqmail_setup.transaction.operations import (
    CreateNode,
    CreateSymlink,
    Operation,
    RemoveDirectory,
    RemoveFile,
    SetPermissions,
    WriteFile,
)

HISTORY_FOLDER = "history"
VERSION = 1
"""Of the format of records; those of version 0 have other names of fields and states."""
MAX_RECORDS = 500
MAX_BYTES = 1 << 30


class TransactionState(Enum):
    """How far a transaction got."""

    STARTED = "started"
    COMMITTED = "committed"
    ABORTED = "aborted"


_OLD_STATES = {
    "begun": TransactionState.STARTED,
    "done": TransactionState.COMMITTED,
    "broken off and undone": TransactionState.ABORTED,
}


class PathDigest(NamedTuple):
    """A state without its content; `digest` identifies the content, "" if there is none."""

    kind: PathKind
    permissions: Permissions
    digest: str

    def matches(self, other: "PathDigest | None") -> bool:
        """Whether the same thing lies there, in whatever dress."""
        return other is not None and (self.kind, self.digest) == (other.kind, other.digest)


class PathChange(NamedTuple):
    """One path of a run."""

    path: str
    before: PathDigest | None
    after: PathDigest | None

    def current(self, filesystem: Filesystem) -> PathDigest | None:
        """What lies there; a link that the run made or took away is seen as one, whatever it points to."""
        is_about_link = any(known is not None and known.kind == PathKind.SYMLINK for known in (self.before, self.after))
        return digest_of(snapshot(self.path, filesystem, is_about_link))


class TransactionRecord(NamedTuple):
    """One run of a changing command; `undoes` is the number of the run that it took back, or 0."""

    number: int
    started_at: int
    user: str
    command: str
    state: TransactionState
    undoes: int
    changes: tuple[PathChange, ...]

    def with_state(self, state: TransactionState) -> "TransactionRecord":
        """The same run, in another state."""
        return self._replace(state=state)


class History:
    """The runs of one installation. A writer holds the lock of the installation."""

    def __init__(self, home: str) -> None:
        self._folder = f"{home}/{HISTORY_FOLDER}"
        self._blobs = f"{self._folder}/blobs"

    def numbers(self) -> list[int]:
        """The numbers of all runs, the oldest first."""
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return []
        return sorted(int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdigit())

    def record(self, number: int) -> TransactionRecord | None:
        """One run; None if the number is unknown or expired."""
        text = read_file(self._path(number))
        if text is None:
            return None
        try:
            return _record(json.loads(text))
        except (ValueError, KeyError, TypeError) as error:
            raise EqmailError(f"{self._path(number)}: damaged ({error}); move it away") from error

    def records(self) -> Iterator[TransactionRecord]:
        """Every run, the oldest first."""
        for number in self.numbers():
            run = self.record(number)
            if run is not None:
                yield run

    def rolled_back(self) -> dict[int, int]:
        """The runs that are taken back at present, each with the number of the run that did it."""
        taken: dict[int, int] = {}
        for run in self.records():
            if run.undoes and run.state is TransactionState.COMMITTED:
                taken[run.undoes] = run.number
                again = [old for old, by in taken.items() if by == run.undoes]
                for number in again:
                    del taken[number]
        return taken

    def prepare(self) -> None:
        """Make the folders with mode 0700."""
        for folder in (self._folder, self._blobs):
            try:
                os.mkdir(folder, 0o700)
            except FileExistsError:
                if os.stat(folder).st_mode & 0o077:
                    os.chmod(folder, 0o700)

    def begin(self, run: TransactionRecord, filesystem: Filesystem, actions: Iterable[Operation]) -> TransactionRecord:
        """Write down what the actions are about to change; then, and only then, they may be performed."""
        first: dict[str, PathDigest | None] = {}
        last: dict[str, PathDigest | None] = {}
        for action in actions:
            for path, left in action.predicted_changes(filesystem):
                if path not in first:
                    before = snapshot(path, filesystem, isinstance(action, CreateSymlink | RemoveFile))
                    first[path] = digest_of(before)
                    if before is not None and before.content:
                        self._store_blob(before.content)
                last[path] = digest_of(left)
        changes = tuple(PathChange(path, before, last[path]) for path, before in first.items())
        if not changes:
            return run  # nothing that could be undone, so nothing to record
        number = max(self.numbers(), default=0) + 1
        started = run._replace(number=number, state=TransactionState.STARTED, changes=changes)
        self.write(started)
        return started

    def write(self, run: TransactionRecord) -> None:
        """Put the record of a run on the disk."""
        write_atomically(self._path(run.number), json.dumps(_value(run), indent=1).encode(), 0o600)

    def content(self, digest: str) -> bytes:
        """An old content.

        Fails: Refusal when it is gone or damaged.
        """
        data = read_file(f"{self._blobs}/{digest}") if digest else b""
        if data is None or (digest and hashlib.sha256(data).hexdigest() != digest):
            raise EqmailError(f"{self._blobs}/{digest}: missing or damaged; this transaction cannot be undone")
        return data

    def find_content(self, digest: str) -> bytes | None:
        """A content that a transaction replaced; None where it is not kept."""
        data = read_file(f"{self._blobs}/{digest}") if digest else b""
        return data if data is None or not digest or hashlib.sha256(data).hexdigest() == digest else None

    def interrupted(self) -> list[TransactionRecord]:
        """Runs that ended before they were complete."""
        return [run for run in self.records() if run.state is TransactionState.STARTED]

    def restore_operations(self, step: PathChange, filesystem: Filesystem) -> list[Operation]:
        """The actions that put back what was there before a step; none where it is there."""
        now = step.current(filesystem)
        path, before = step.path, step.before
        if now == before:
            return []
        if before is None:
            return [RemoveDirectory(path) if now and now.kind == PathKind.DIRECTORY else RemoveFile(path)]
        if now is not None and now.kind != before.kind:
            clear: list[Operation] = [RemoveDirectory(path) if now.kind == PathKind.DIRECTORY else RemoveFile(path)]
        else:
            clear = []
        if before.kind == PathKind.SYMLINK:
            return [*clear, CreateSymlink(path, os.fsdecode(self.content(before.digest)))]
        if before.matches(now):
            return [SetPermissions(path, before.permissions)]
        if before.kind == PathKind.FILE:
            return [*clear, WriteFile(path, self.content(before.digest), before.permissions)]
        return [*clear, CreateNode(path, before.kind, before.permissions)]

    def expire(self) -> None:
        """Forget the oldest runs when there are too many of them, or their contents take too much room."""
        numbers = self.numbers()
        sizes = {entry.name: entry.stat().st_size for entry in os.scandir(self._blobs)}
        if len(numbers) <= MAX_RECORDS and sum(sizes.values()) <= MAX_BYTES:
            return
        needed: set[str] = set()
        room = 0
        for count, number in enumerate(reversed(numbers), 1):
            run = self.record(number)
            new = {step.before.digest for step in run.changes if step.before} - needed if run else set()
            room += sum(sizes.get(name, 0) for name in new)
            if count > 1 and (count > MAX_RECORDS or room > MAX_BYTES):
                os.unlink(self._path(number))
            else:
                needed |= new
        for name in sizes.keys() - needed:
            os.unlink(f"{self._blobs}/{name}")

    def _path(self, number: int) -> str:
        return f"{self._folder}/{number}.json"

    def _store_blob(self, content: bytes) -> None:
        path = f"{self._blobs}/{hashlib.sha256(content).hexdigest()}"
        if not os.path.exists(path):
            write_atomically(path, content, 0o600)


def digest_of(state: PathSnapshot | None) -> PathDigest | None:
    """A state without its content."""
    if state is None:
        return None
    return PathDigest(state.kind, state.permissions, hashlib.sha256(state.content).hexdigest() if state.content else "")


def _value(run: TransactionRecord) -> dict[str, Any]:
    steps = [{"path": step.path, "before": _shape(step.before), "after": _shape(step.after)} for step in run.changes]
    return {
        "version": VERSION,
        "number": run.number,
        "started": run.started_at,
        "user": run.user,
        "command": run.command,
        "state": run.state.value,
        "undoes": run.undoes,
        "changes": steps,
    }


def _shape(of: PathDigest | None) -> dict[str, Any] | None:
    if of is None:
        return None
    permissions = of.permissions
    return {
        "kind": of.kind.value,
        "owner": permissions.owner,
        "group": permissions.group,
        "mode": f"{permissions.mode:04o}",
        "sha256": of.digest,
    }


def _record(value: dict[str, Any]) -> TransactionRecord:
    is_old = "version" not in value
    started, user, changes = ("began", "who", "steps") if is_old else ("started", "user", "changes")
    if not is_old and value["version"] != VERSION:
        raise ValueError(f"version {value['version']}")
    return TransactionRecord(
        int(value["number"]),
        int(value[started]),
        str(value[user]),
        str(value["command"]),
        _OLD_STATES[value["state"]] if is_old else TransactionState(value["state"]),
        int(value["undoes"]),
        tuple(PathChange(item["path"], _digest(item["before"]), _digest(item["after"])) for item in value[changes]),
    )


def _digest(value: dict[str, Any] | None) -> PathDigest | None:
    if value is None:
        return None
    kind = PathKind(value["kind"].removeprefix("a "))
    return PathDigest(kind, Permissions(value["owner"], value["group"], int(value["mode"], 8)), value["sha256"])
