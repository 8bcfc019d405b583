"""Carrying the settings, the user database and the aliases of one home into another, whatever the two layouts are.

Files go over byte for byte with their modes, and belong to whoever plays the same role there. What lies there already
with another content is kept and named, unless it is to be replaced. The source is only read, and
no link in it is followed.

Fails: OSError where the source cannot be read.
"""

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from eqmail_core.control.declared import Controls
from eqmail_core.control.folders import FOLDERS
from eqmail_core.site.accounts import GROUPS
from eqmail_core.site.layout import EQMAIL_109, EQMAIL_111, Layout
from eqmail_core.site.site import Site
from eqmail_core.system.files import CHUNK
from eqmail_core.users.assign_file import BadAssign
from eqmail_core.users.database import assign_path, database_path
from eqmail_setup.installation.accounts import caller, group_name, user_name
from eqmail_setup.installation.manifest_nodes import Dress
from eqmail_setup.mail.aliases import PREFIX
from eqmail_setup.mail.assign_file import compiled
from eqmail_setup.mail.users import PARTS
from eqmail_setup.migration.unsupported import FOREIGN, RENAMED
from eqmail_setup.transaction.filesystem import LINK, State, World, state_of
from eqmail_setup.transaction.operations import Link, Make, Write
from eqmail_setup.transaction.plan import Difference, Weight

RUNS = "runs "
"""How the line about an alias that runs a program begins."""

_SHOWN = 100
_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o7777
_ROOT = user_name(0)
_OF_THE_ALIASES = PREFIX.rstrip("-")


class Route(NamedTuple):
    """From one home into another. `base` stands before paths there: "" where it is the world's own home."""

    source: Site
    target: Site
    base: str = ""
    replace: bool = False


class Item(NamedTuple):
    """One file, link or folder of the source: its name below the folder that it is in, and what it is."""

    name: str
    path: str
    state: State


def carrying(route: Route, world: World) -> Iterator[Difference]:
    """What has to be done, and what has to be said, so that the target has what the source has."""
    yield from _settings(route, world)
    yield from _users(route, world)
    yield from _aliases(route, world)


def _settings(route: Route, world: World) -> Iterator[Difference]:
    known = {control.file for control in Controls.declared().values()} | set(FOLDERS)
    ours = {there: here for here, there in RENAMED.items()}
    to_us = _reads_ours(route.target.layout)
    for item in _items(route.source.control, deep=True):
        top, _, _ = item.name.partition("/")
        name = item.name
        if to_us and name in RENAMED and not os.path.exists(f"{route.source.control}/{RENAMED[name]}"):
            yield Difference(item.path, "of another qmail", f"as {RENAMED[name]}, which it is here", weight=Weight.KEPT)
            name = RENAMED[name]
        elif not to_us and name in ours:
            yield Difference(item.path, "of eQmail", f"as {ours[name]}, which it is there", weight=Weight.KEPT)
            name = ours[name]
        elif top not in known and top == item.name:
            reason = FOREIGN.get(top, "not known")
            yield Difference(item.path, reason, "as a file that no program reads", weight=Weight.KEPT)
        yield from _put(route, route.target.layout.control, item._replace(name=name), world)


def _reads_ours(layout: Layout) -> bool:
    """Whether the programs of a home of this layout are likely eQmail's."""
    return layout in (EQMAIL_109, EQMAIL_111)


def _users(route: Route, world: World) -> Iterator[Difference]:
    assign, database = assign_path(route.source), database_path(route.source)
    for item in _items(route.source.users):
        if item.state.kind == "a directory" or (item.path == database and os.path.exists(assign)):
            continue
        yield from _put(route, route.target.layout.users, item, world)
        if item.path == assign:
            yield from _compiled(route, item, world)


def _compiled(route: Route, text: Item, world: World) -> Iterator[Difference]:
    """The database is made of its text anew, with the dress of the old one."""
    database = database_path(route.source)
    try:
        content = compiled(text.state.content)
    except BadAssign as bad:
        wanted = "mended, then compiled: eqmail user compile"
        yield Difference(text.path, f"line {bad.line} is no entry", wanted, weight=Weight.ADVICE)
        return
    old = _state(database)
    if old is None:
        yield Difference(text.path, "never compiled", "as the database that is made of it now", weight=Weight.KEPT)
    elif old.content != content:
        yield Difference(database, "older than its text", "as the database that is made of it now", weight=Weight.KEPT)
    state = State("a file", (old or text.state).dress, content)
    item = Item(os.path.basename(database), database, state)
    folder = route.target.layout.users
    here = state_of(f"{route.base}{folder}/{text.name}", world)
    if here is None or here.content == text.state.content or route.replace:
        yield from _put(route, folder, item, world)


def _aliases(route: Route, world: World) -> Iterator[Difference]:
    folder = route.target.layout.alias
    for name in sorted(_names(route.source.alias)):
        path = f"{route.source.alias}/{name}"
        state = _state(path)
        if state is None:
            yield Difference(path, "neither a file nor a folder", "where it is", weight=Weight.KEPT)
        elif state.kind != "a directory" and name.startswith(_OF_THE_ALIASES):
            yield from _programs(path, state)
            yield from _put(route, folder, Item(name, path, state), world)
        elif state.kind == "a directory" and all(os.path.isdir(f"{path}{part}") for part in PARTS):
            yield from _maildir(route, name, path, state, world)
        else:
            yield Difference(path, f"{state.kind} of the aliases", "where it is", weight=Weight.KEPT)


def _programs(path: str, state: State) -> Iterator[Difference]:
    """Whoever could write the old aliases says what runs as the user of the new ones: a person has to know."""
    lines = state.content.splitlines() if state.kind == "a file" else []
    for line in lines:
        if line.startswith(b"|"):
            shown = line[1:_SHOWN].decode("utf-8", "replace").strip()
            yield Difference(path, f"{RUNS}{shown!r}", "looked at before mail comes", weight=Weight.ADVICE)


def _maildir(route: Route, name: str, path: str, state: State, world: World) -> Iterator[Difference]:
    """A Maildir is made anew, so that mail can come; what is in the old one stays there."""
    dress = _worn(route, state.dress)
    for part in PARTS:
        place = f"{route.base}{route.target.layout.alias}/{name}{part}"
        if world.look(place) is None:
            yield Difference(world.show(place), "missing", "a directory", Make(place, "a directory", dress))
    if any(_names(f"{path}/{part}") for part in ("new", "cur")):
        yield Difference(path, "a Maildir with mail", "where it is; copy the mail yourself", weight=Weight.KEPT)


def _put(route: Route, folder: str, item: Item, world: World) -> Iterator[Difference]:
    """Have an item at its place in the target."""
    place = f"{route.base}{folder}/{item.name}"
    there, dress = state_of(place, world), _worn(route, item.state.dress)
    show = world.show(place)
    yield from _names_the_old_home(route, item, show)
    if item.state.kind == "a directory":
        if there is None:
            yield Difference(show, "missing", "a directory", Make(place, "a directory", dress))
        return
    if there is not None and (there.kind, there.content) == (item.state.kind, item.state.content):
        return
    if there is not None and not route.replace:
        wanted = f"as it is; --replace takes that of {item.path}"
        yield Difference(show, f"other than {item.path}", wanted, weight=Weight.KEPT)
    elif there is not None and there.kind not in ("a file", LINK):
        yield Difference(show, there.kind, "a file; move it away and come again")
    else:
        found = "missing" if there is None else "other"
        action = (
            Link(place, os.fsdecode(item.state.content))
            if item.state.kind == LINK
            else Write(place, item.state.content, dress)
        )
        yield Difference(show, found, f"as {item.path}", action)


def _names_the_old_home(route: Route, item: Item, show: str) -> Iterator[Difference]:
    old = os.fsencode(route.source.home)
    if route.source.home != route.target.home and old + b"/" in item.state.content and b"\0" not in item.state.content:
        wanted = f"mended by hand where {route.target.home} is meant"
        yield Difference(show, f"names {route.source.home}/...", wanted, weight=Weight.ADVICE)


def _worn(route: Route, dress: Dress) -> Dress:
    """The dress of the same role in the target."""
    if route.target.single_user:
        return Dress(*caller(), dress.mode)
    here, there = route.source.accounts, route.target.accounts
    owner, group = dress.owner, dress.group
    for role, name in here.users.items():
        owner = there.user(role) if name == dress.owner and role != "owner" and name != _ROOT else owner
    for number in range(len(GROUPS)):
        group = there.groups[number] if here.groups[number] == dress.group else group
    return Dress(owner, group, dress.mode)


def _items(top: str, below: str = "", deep: bool = False) -> Iterator[Item]:
    """Everything in a folder, folders before what is in them if `deep`; sockets and the like are passed over."""
    for name in sorted(_names(f"{top}/{below}")):
        path = f"{top}/{below}{name}"
        state = _state(path)
        if state is not None:
            yield Item(below + name, path, state)
            if deep and state.kind == "a directory":
                yield from _items(top, f"{below}{name}/", deep)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _state(path: str) -> State | None:
    """What lies there; None for nothing, and for what cannot be carried."""
    try:
        seen = os.lstat(path)
    except FileNotFoundError:
        return None
    dress = Dress(user_name(seen.st_uid), group_name(seen.st_gid), seen.st_mode & _MODE)
    if stat.S_ISDIR(seen.st_mode):
        return State("a directory", dress)
    if stat.S_ISLNK(seen.st_mode):
        return State(LINK, dress, os.fsencode(os.readlink(path)))
    if not stat.S_ISREG(seen.st_mode):
        return None
    with os.fdopen(os.open(path, _OPEN), "rb", CHUNK) as file:
        found = os.fstat(file.fileno())
        if (found.st_ino, found.st_dev) != (seen.st_ino, seen.st_dev):
            return None  # it has just been replaced
        return State("a file", dress, file.read())
