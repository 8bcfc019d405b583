"""Users who get mail: their entries in users/assign, the database made of them, their homes and Maildirs.

A user need not have an account. What is made belongs to the ids of the entry; what exists keeps its owner and mode.

Fails: Refusal.
Source: delivery.md 5.1, 5.3; maildir(5).
"""

import os
import pwd
from collections.abc import Iterable, Iterator

from eqmail_core.site.site import Site
from eqmail_core.users.accounts import home_owner
from eqmail_core.users.assign_file import BadAssign
from eqmail_core.users.database import assign_path, database_path
from eqmail_core.users.pw2u import CannotAssign, assign_text
from eqmail_core.users.pw2u_lists import read_assign_rules
from eqmail_setup.cli.progress import Watch, silently
from eqmail_setup.errors import Refusal, usage
from eqmail_setup.installation.accounts import caller, group_name, user_name
from eqmail_setup.installation.loading import as_installed
from eqmail_setup.installation.manifest import Wardrobe
from eqmail_setup.installation.manifest_nodes import Dress
from eqmail_setup.mail.assign_file import Assignments, Entry, compiled, no_entry, read_assignments
from eqmail_setup.mail.routing import text
from eqmail_setup.transaction.filesystem import World, state_of
from eqmail_setup.transaction.operations import Discard, Make, Write
from eqmail_setup.transaction.plan import Difference, Weight

MAILDIR = ".Maildir"
_TABLES = {"assign", "cdb", "smtpauth", "include", "exclude", "mailnames", "subusers", "append"}
"""Files that lie, or may lie, where the homes of users without an account are."""

PARTS = ("", "/tmp", "/new", "/cur")
"""A Maildir and the folders in it, in the order in which they are made."""


def within(site: Site, path: str) -> str:
    """A path as the world wants it: relative to the home where it lies below it."""
    return path.removeprefix(f"{site.home}/") if path.startswith(f"{site.home}/") else path


def entry_for(site: Site, local: str, ids: str, home: str, user: str) -> Entry:
    """The entry of a user: what was not given comes from the account of that name, else from the installation.

    Fails: Refusal where there is no such account and no ids were given.
    """
    account = _account(user or local)
    if site.single_user:
        uid, gid = os.getuid(), os.getgid()
        if ids and ids != f"{uid}:{gid}":
            raise usage(f"--ids {ids}: in an installation of one user everything belongs to {uid}:{gid}")
    elif ids:
        uid, gid = _ids(ids)
    elif account is None:
        raise usage(f"there is no account {user or local}; give --ids UID:GID, which need not belong to an account")
    else:
        uid, gid = account.pw_uid, account.pw_gid
    _demand_local_part(site, local, not home and (account is None or bool(ids)))
    if not home:
        home = account.pw_dir if account and not ids else as_installed(site, f"{site.users}/{local}")
    entry = Entry(local, False, user or local, uid, gid, os.path.abspath(home) if home.startswith("/") else home)
    if uid == 0 and not site.single_user:
        raise usage(f"{uid}:{gid} is root, to whom nothing is delivered; give other ids, which need no account")
    entry.line()
    return entry


def _demand_local_part(site: Site, local: str, names_home: bool) -> None:
    """Refuse what cannot be before an @, and, where it names a home among the users, what is another file there."""
    if not local or any(sign in "/@" or sign.isspace() or not sign.isprintable() for sign in local):
        raise usage(f"{local!r} is not a local part; give the part of the address before the @")
    if names_home and (local in (".", "..") or local in _TABLES):
        raise usage(f"{site.users}/{local} cannot be the home of a user; give another with --home-of-user")


def adding(
    site: Site, world: World, entry: Entry, maildir: str, extensions: bool, replace: bool, watch: Watch = silently
) -> list[Difference]:
    """What has to be done so that a user gets mail, in a Maildir of its home, and so do its extensions."""
    assignments = _read(site)
    entries, delimiter = [entry], text(site.break_char)
    if extensions and delimiter:
        entries.append(entry._replace(local=entry.local + delimiter, wildcard=True, dash="-"))
    assignments.put(entries, replace)
    found = list(_homely(site, world, entry, maildir)) if maildir else []
    return [*found, *_settling(site, world, assignments, watch)]


def removing(site: Site, world: World, local: str, discard: bool, watch: Watch = silently) -> list[Difference]:
    """What has to be done so that a user gets no more mail; the mail stays, unless it shall go too."""
    assignments = _read(site)
    if not local:
        raise usage("give a name")
    keys = {(False, os.fsencode(local).lower()), (True, os.fsencode(local).lower() + site.break_char)}
    dropped = assignments.drop(keys)
    if not dropped:
        show = world.show(within(site, assign_path(site)))
        return [Difference(show, f"has no entry {local}", "so", weight=Weight.KEPT)]
    found = list(_settling(site, world, assignments, watch))
    homes = {entry.home for entry in dropped} - {entry.home for entry in assignments.entries()}
    for home in sorted(homes):
        path = within(site, f"{home}/{MAILDIR}")
        if world.look(path) is None:
            continue
        if discard:
            found.append(Difference(world.show(path), "mail of nobody", "removed", Discard(path)))
        else:
            wanted = "as it is; with --discard-mail it goes too, for good"
            found.append(Difference(world.show(path), "mail", wanted, weight=Weight.KEPT))
    return found


def importing(site: Site, world: World, passwd: Iterable[bytes], replace: bool, watch: Watch) -> list[Difference]:
    """What has to be done so that every account of a passwd text gets mail; entries of other names stay."""
    try:
        made = b"".join(assign_text(read_assign_rules(site), passwd, home_owner))
    except CannotAssign as reason:
        raise Refusal(f"{text(reason.text)}; without it this text of accounts makes no entries") from reason
    assignments = _read(site)
    assignments.put(Assignments("the accounts", made).entries(), replace)
    return list(_settling(site, world, assignments, watch))


def compiling(site: Site, world: World, watch: Watch = silently) -> list[Difference]:
    """What has to be done so that the database says what users/assign says."""
    path = within(site, assign_path(site))
    state = state_of(path, world)
    if state is None:
        raise Refusal(f"{world.show(path)}: missing; eqmail user add makes it")
    try:
        return list(_database(site, world, state.content, watch))
    except BadAssign as bad:
        raise no_entry(world.show(path), state.content, bad) from bad


def _read(site: Site) -> Assignments:
    path = assign_path(site)
    if os.path.exists(database_path(site)) and not os.path.exists(path):
        raise Refusal(f"{path}: missing, while {database_path(site)} was made of it; restore it first")
    return read_assignments(path)


def _settling(site: Site, world: World, assignments: Assignments, watch: Watch) -> Iterator[Difference]:
    path, content = within(site, assign_path(site)), assignments.content()
    state = state_of(path, world)
    if state is None or state.content != content:
        dress = state.dress if state else _dress(site)
        yield Difference(
            world.show(path), "other entries" if state else "missing", "these", Write(path, content, dress)
        )
    yield from _database(site, world, content, watch)


def _database(site: Site, world: World, assign: bytes, watch: Watch) -> Iterator[Difference]:
    path, content = within(site, database_path(site)), compiled(assign, watch)
    state = state_of(path, world)
    if state is None or state.content != content:
        write = Write(path, content, state.dress if state and state.kind == "a file" else _dress(site))
        yield Difference(world.show(path), "older than its text" if state else "missing", "made anew", write)


def _homely(site: Site, world: World, entry: Entry, maildir: str) -> Iterator[Difference]:
    """The home, the Maildir in it, and the .qmail file that says so, as far as they are missing."""
    name = maildir.removeprefix("./").rstrip("/")
    if "/" in name or "\n" in name or name in ("", ".", ".."):
        raise usage(f"--maildir {maildir}: give the name of a folder in the home, such as {MAILDIR}")
    dress = Dress(user_name(entry.uid), group_name(entry.gid), 0o700)
    home = within(site, entry.home)
    folder = os.path.dirname(entry.home)
    if world.look(within(site, folder) if folder != site.home else "") is None:
        raise Refusal(f"{folder}: missing; make it first, or choose another home with --home-of-user")
    for path in (home, *(f"{home}/{name}{part}" for part in PARTS)):
        seen = world.look(path)
        if seen is None:
            yield Difference(world.show(path), "missing", "a directory", Make(path, "a directory", dress))
        elif seen.kind != "a directory":
            raise Refusal(f"{world.show(path)}: {seen.kind}, should be a directory; move it away")
    path = f"{home}/.qmail"
    if state_of(path, world) is None:
        write = Write(path, os.fsencode(f"./{name}/\n"), dress._replace(mode=0o600))
        yield Difference(world.show(path), "missing", f"delivery to {name}", write)


def _dress(site: Site) -> Dress:
    return Wardrobe(site, caller())("owner", 0o644)


def _account(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except (KeyError, ValueError):
        return None


def _ids(ids: str) -> tuple[int, int]:
    uid, colon, gid = ids.partition(":")
    if not (colon and uid.isascii() and uid.isdigit() and gid.isascii() and gid.isdigit()):
        raise usage(f"--ids {ids}: write UID:GID, such as 1001:1001")
    return int(uid), int(gid)
