"""Carrying the settings, the user database and the aliases of one home into another, whatever the two layouts are.

Files go over byte for byte with their modes, and belong to the account of the same role there. What is there already
with another content is kept and named, unless replacing was requested. The source is only read, and
no link in it is followed.

Fails: OSError where the source cannot be read.
"""

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from eqmail_core.control.controls import Controls
from eqmail_core.control.folders import FOLDERS
from eqmail_core.site.accounts import GROUPS
from eqmail_core.site.layout import EQMAIL_109, EQMAIL_111, Layout
from eqmail_core.site.site import Site
from eqmail_core.system.files import CHUNK
from eqmail_core.users.assign_file import BadAssign
from eqmail_core.users.database import assign_path, database_path
from eqmail_setup.errors import Severity
from eqmail_setup.installation.accounts import caller, group_name, user_name
from eqmail_setup.installation.manifest_nodes import PathKind, Permissions
from eqmail_setup.mail.aliases import PREFIX
from eqmail_setup.mail.assign_file import compile_assign
from eqmail_setup.mail.users import PARTS
from eqmail_setup.migration.unsupported import RENAMED, UNSUPPORTED
from eqmail_setup.transaction.filesystem import Filesystem, PathSnapshot, snapshot
from eqmail_setup.transaction.operations import CreateNode, CreateSymlink, WriteFile
from eqmail_setup.transaction.plan import Change, Topic

RUNS = "runs "
"""How the line about an alias that runs a program begins."""

_SHOWN = 100
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o7777
_ROOT = user_name(0)
_OF_THE_ALIASES = PREFIX.rstrip("-")


class CopyContext(NamedTuple):
    """From one home into another. `base` stands before paths there: "" where it is the world's own home."""

    source: Site
    target: Site
    base: str = ""
    replace: bool = False


class SourceEntry(NamedTuple):
    """One file, link or folder of the source: its name below the folder that it is in, and what it is."""

    name: str
    path: str
    state: PathSnapshot


def plan_copy(route: CopyContext, filesystem: Filesystem) -> Iterator[Change]:
    """Actions and notes after which the target has what the source has."""
    yield from _settings(route, filesystem)
    yield from _users(route, filesystem)
    yield from _aliases(route, filesystem)


def _settings(route: CopyContext, filesystem: Filesystem) -> Iterator[Change]:
    known = {control.file for control in Controls.declared().values()} | set(FOLDERS)
    ours = {there: here for here, there in RENAMED.items()}
    to_us = _reads_ours(route.target.layout)
    for item in _entries(route.source.control, deep=True):
        top, _, _ = item.name.partition("/")
        name = item.name
        if to_us and name in RENAMED and not os.path.exists(f"{route.source.control}/{RENAMED[name]}"):
            yield Change(
                item.path,
                "of another qmail",
                f"as {RENAMED[name]}, which it is here",
                None,
                Severity.WARNING,
                Topic.RENAMED,
            )
            name = RENAMED[name]
        elif not to_us and name in ours:
            expected = f"as {ours[name]}, which it is there"
            yield Change(item.path, "of eQmail", expected, None, Severity.WARNING, Topic.RENAMED)
            name = ours[name]
        elif top not in known and top == item.name:
            reason = UNSUPPORTED.get(top, "not known")
            topic = Topic.UNSUPPORTED if top in UNSUPPORTED else Topic.REVIEW
            yield Change(item.path, reason, "as a file that no program reads", None, Severity.WARNING, topic)
        yield from _put(route, route.target.layout.control, item._replace(name=name), filesystem)


def _reads_ours(layout: Layout) -> bool:
    """Whether the programs of a home of this layout are likely eQmail's."""
    return layout in (EQMAIL_109, EQMAIL_111)


def _users(route: CopyContext, filesystem: Filesystem) -> Iterator[Change]:
    assign, database = assign_path(route.source), database_path(route.source)
    for item in _entries(route.source.users):
        if item.state.kind == PathKind.DIRECTORY or (item.path == database and os.path.exists(assign)):
            continue
        yield from _put(route, route.target.layout.users, item, filesystem)
        if item.path == assign:
            yield from _compiled(route, item, filesystem)


def _compiled(route: CopyContext, text: SourceEntry, filesystem: Filesystem) -> Iterator[Change]:
    """The database is rebuilt from its text, with owner and mode of the old one."""
    database = database_path(route.source)
    try:
        content = compile_assign(text.state.content)
    except BadAssign as bad:
        expected = "corrected, then compiled: eqmail user compile"
        yield Change(text.path, f"line {bad.line} is no entry", expected, severity=Severity.INFO)
        return
    old = _state(database)
    if old is None:
        yield Change(text.path, "never compiled", "as the database that is made of it now", severity=Severity.WARNING)
    elif old.content != content:
        yield Change(
            database, "older than its text", "as the database that is made of it now", severity=Severity.WARNING
        )
    state = PathSnapshot(PathKind.FILE, (old or text.state).permissions, content)
    item = SourceEntry(os.path.basename(database), database, state)
    folder = route.target.layout.users
    here = snapshot(f"{route.base}{folder}/{text.name}", filesystem)
    if here is None or here.content == text.state.content or route.replace:
        yield from _put(route, folder, item, filesystem)


def _aliases(route: CopyContext, filesystem: Filesystem) -> Iterator[Change]:
    folder = route.target.layout.alias
    for name in sorted(_names(route.source.alias)):
        path = f"{route.source.alias}/{name}"
        state = _state(path)
        if state is None:
            yield Change(path, "neither a file nor a folder", "where it is", severity=Severity.WARNING)
        elif state.kind != PathKind.DIRECTORY and name.startswith(_OF_THE_ALIASES):
            yield from _programs(path, state)
            yield from _put(route, folder, SourceEntry(name, path, state), filesystem)
        elif state.kind == PathKind.DIRECTORY and all(os.path.isdir(f"{path}{part}") for part in PARTS):
            yield from _maildir(route, name, path, state, filesystem)
        else:
            yield Change(path, f"{state.kind} of the aliases", "where it is", severity=Severity.WARNING)


def _programs(path: str, state: PathSnapshot) -> Iterator[Change]:
    """Any account that could write the old aliases decides what runs as the user of the new ones."""
    lines = state.content.splitlines() if state.kind == PathKind.FILE else []
    for line in lines:
        if line.startswith(b"|"):
            shown = line[1:_SHOWN].decode("utf-8", "replace").strip()
            expected = "looked at before mail comes"
            yield Change(path, f"{RUNS}{shown!r}", expected, None, Severity.INFO, Topic.REVIEW)


def _maildir(route: CopyContext, name: str, path: str, state: PathSnapshot, filesystem: Filesystem) -> Iterator[Change]:
    """A new empty Maildir for new mail; the messages of the old one stay there."""
    permissions = _target_permissions(route, state.permissions)
    for part in PARTS:
        place = f"{route.base}{route.target.layout.alias}/{name}{part}"
        if filesystem.stat(place) is None:
            yield Change(
                filesystem.display_path(place),
                "missing",
                "a directory",
                CreateNode(place, PathKind.DIRECTORY, permissions),
            )
    if any(_names(f"{path}/{part}") for part in ("new", "cur")):
        yield Change(
            path, "a Maildir with mail", "where it is; copy the mail yourself", None, Severity.WARNING, Topic.REVIEW
        )


def _put(route: CopyContext, folder: str, item: SourceEntry, filesystem: Filesystem) -> Iterator[Change]:
    """Have an item at its place in the target."""
    place = f"{route.base}{folder}/{item.name}"
    there, permissions = snapshot(place, filesystem), _target_permissions(route, item.state.permissions)
    show = filesystem.display_path(place)
    yield from _mentions_old_home(route, item, show)
    if item.state.kind == PathKind.DIRECTORY:
        if there is None:
            yield Change(show, "missing", "a directory", CreateNode(place, PathKind.DIRECTORY, permissions))
        return
    if there is not None and (there.kind, there.content) == (item.state.kind, item.state.content):
        return
    if there is not None and not route.replace:
        expected = f"as it is; --replace takes that of {item.path}"
        yield Change(show, f"other than {item.path}", expected, None, Severity.WARNING, Topic.REVIEW)
    elif there is not None and there.kind not in (PathKind.FILE, PathKind.SYMLINK):
        yield Change(show, str(there.kind), "file; move it away and try again")
    else:
        found = "missing" if there is None else "other"
        action = (
            CreateSymlink(place, os.fsdecode(item.state.content))
            if item.state.kind == PathKind.SYMLINK
            else WriteFile(place, item.state.content, permissions)
        )
        yield Change(show, found, f"as {item.path}", action)


def _mentions_old_home(route: CopyContext, item: SourceEntry, show: str) -> Iterator[Change]:
    old = os.fsencode(route.source.home)
    if route.source.home != route.target.home and old + b"/" in item.state.content and b"\0" not in item.state.content:
        expected = f"corrected where {route.target.home} is meant"
        yield Change(show, f"names {route.source.home}/...", expected, severity=Severity.INFO)


def _target_permissions(route: CopyContext, permissions: Permissions) -> Permissions:
    """The dress of the same role in the target."""
    if route.target.single_user:
        return Permissions(*caller(), permissions.mode)
    here, there = route.source.accounts, route.target.accounts
    owner, group = permissions.owner, permissions.group
    for role, name in here.users.items():
        owner = there.user(role) if name == permissions.owner and role != "owner" and name != _ROOT else owner
    for number in range(len(GROUPS)):
        group = there.groups[number] if here.groups[number] == permissions.group else group
    return Permissions(owner, group, permissions.mode)


def _entries(top: str, below: str = "", deep: bool = False) -> Iterator[SourceEntry]:
    """Everything in a folder, folders before what is in them if `deep`; sockets and the like are passed over."""
    for name in sorted(_names(f"{top}/{below}")):
        path = f"{top}/{below}{name}"
        state = _state(path)
        if state is not None:
            yield SourceEntry(below + name, path, state)
            if deep and state.kind == PathKind.DIRECTORY:
                yield from _entries(top, f"{below}{name}/", deep)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _state(path: str) -> PathSnapshot | None:
    """What lies there; None for nothing, and for what cannot be carried."""
    try:
        seen = os.lstat(path)
    except FileNotFoundError:
        return None
    permissions = Permissions(user_name(seen.st_uid), group_name(seen.st_gid), seen.st_mode & _MODE)
    if stat.S_ISDIR(seen.st_mode):
        return PathSnapshot(PathKind.DIRECTORY, permissions)
    if stat.S_ISLNK(seen.st_mode):
        return PathSnapshot(PathKind.SYMLINK, permissions, os.fsencode(os.readlink(path)))
    if not stat.S_ISREG(seen.st_mode):
        return None
    with os.fdopen(os.open(path, _OPEN), "rb", CHUNK) as file:
        found = os.fstat(file.fileno())
        if (found.st_ino, found.st_dev) != (seen.st_ino, seen.st_dev):
            return None  # it has just been replaced
        return PathSnapshot(PathKind.FILE, permissions, file.read())
