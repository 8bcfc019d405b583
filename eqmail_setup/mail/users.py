"""Users who get mail: their entries in users/assign, the database made of them, their homes and Maildirs.

A user need not have an account. What is made belongs to the ids of the entry; what exists keeps its owner and mode.

Fails: Refusal.
Source: delivery.md 5.1, 5.3; maildir(5).
"""

import os
import pwd
from collections.abc import Iterable, Iterator

from eqmail_core.local.delivery.dotqmail import MAILDIR as MAILDIR_STEP
from eqmail_core.local.delivery.dotqmail import parse
from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_controls
from eqmail_core.users.assign_file import BadAssign
from eqmail_core.users.database import assign_path, database_path
from eqmail_core.users.getpw import home_owner
from eqmail_core.users.pw2u import CannotAssign, assign_text
from eqmail_core.users.pw2u_lists import read_assign_rules
from eqmail_setup.errors import EqmailError, Severity, not_found, usage_error
from eqmail_setup.installation.accounts import caller, group_name, user_name
from eqmail_setup.installation.manifest import OwnershipPolicy
from eqmail_setup.installation.manifest_nodes import PathKind, Permissions
from eqmail_setup.installation.staging import final_path
from eqmail_setup.mail.assign_file import AssignEntry, Assignments, compile_assign, read_assignments, require_entries
from eqmail_setup.mail.routing import text
from eqmail_setup.transaction.filesystem import Filesystem, snapshot
from eqmail_setup.transaction.operations import CreateNode, RemoveTree, WriteFile
from eqmail_setup.transaction.plan import Change
from eqmail_setup.transaction.progress import ProgressCallback, no_progress

MAILDIR = ".Maildir"
"""The Maildir of a new user where the default delivery names none."""

TABLES = {"assign", "cdb", "smtpauth", "include", "exclude", "mailnames", "subusers", "append"}
"""Files that lie, or may lie, where the homes of users without an account are."""

_LINE_END = b"\n"

PARTS = ("", "/tmp", "/new", "/cur")
"""A Maildir and the folders in it, in the order in which they are made."""


def default_maildir(site: Site) -> str:
    """The folder in a home where mail of users without a .qmail file goes, if it is a Maildir; else `MAILDIR`."""
    steps = parse(read_controls(site).defaultdelivery or b"")
    found = [text(argument) for kind, argument in steps if kind == MAILDIR_STEP]
    name = found[0].removeprefix("./").rstrip("/") if len(found) == 1 else ""
    return name if name and "/" not in name and name not in (".", "..") else MAILDIR


def within(site: Site, path: str) -> str:
    """A path as the world wants it: relative to the home where it lies below it."""
    return path.removeprefix(f"{site.home}/") if path.startswith(f"{site.home}/") else path


def entry_for(site: Site, local: str, ids: str, home: str, user: str) -> AssignEntry:
    """The entry of a user: what was not given comes from the account of that name, else from the installation.

    Fails: Refusal where there is no such account and no ids were given.
    """
    account = _account(user or local)
    if site.single_user:
        uid, gid = os.getuid(), os.getgid()
        if ids and ids != f"{uid}:{gid}":
            raise usage_error(f"--ids {ids}: in an installation of one user everything belongs to {uid}:{gid}")
    elif ids:
        uid, gid = _ids(ids)
    elif account is None:
        raise usage_error(
            f"there is no account {user or local}; give --ids UID:GID, which need not belong to an account"
        )
    else:
        uid, gid = account.pw_uid, account.pw_gid
    _demand_local_part(site, local, not home and (account is None or bool(ids)))
    if not home:
        home = account.pw_dir if account and not ids else final_path(site, f"{site.users}/{local}")
    entry = AssignEntry(local, False, user or local, uid, gid, os.path.abspath(home) if home.startswith("/") else home)
    if uid == 0 and not site.single_user:
        raise usage_error(f"{uid}:{gid} is root, to whom nothing is delivered; give other ids, which need no account")
    entry.line()
    return entry


def _demand_local_part(site: Site, local: str, names_home: bool) -> None:
    """Refuse what cannot be before an @, and, where it names a home among the users, what is another file there."""
    if not local or any(sign in "/@" or sign.isspace() or not sign.isprintable() for sign in local):
        raise usage_error(f"{local!r} is not a local part; give the part of the address before the @")
    if names_home and (local in (".", "..") or local in TABLES):
        raise usage_error(f"{site.users}/{local} cannot be the home of a user; give another with --home-dir")


def plan_add(
    site: Site,
    filesystem: Filesystem,
    entry: AssignEntry,
    maildir: str,
    with_home: bool,
    extensions: bool,
    replace: bool,
    on_progress: ProgressCallback = no_progress,
) -> list[Change]:
    """Actions after which a user gets mail, in a Maildir of its home, and so do its extensions."""
    assignments = read_entries(site)
    entries, delimiter = [entry], text(site.break_char)
    if extensions and delimiter:
        entries.append(entry._replace(local=entry.local + delimiter, wildcard=True, dash="-"))
    assignments.put(entries, replace)
    found = list(_plan_maildir(site, filesystem, entry, maildir or default_maildir(site))) if with_home else []
    return [*found, *plan_assign(site, filesystem, assignments, on_progress)]


def plan_remove(
    site: Site, filesystem: Filesystem, local: str, discard: bool, on_progress: ProgressCallback = no_progress
) -> list[Change]:
    """Actions after which a user gets no more mail; the mail stays, unless it shall go too."""
    assignments = read_entries(site)
    if not local:
        raise usage_error("give a name")
    keys = {(False, os.fsencode(local).lower()), (True, os.fsencode(local).lower() + site.break_char)}
    dropped = assignments.drop(keys)
    if not dropped:
        raise not_found(f"user {local}", ("eqmail", "user", "list"))
    found = list(plan_assign(site, filesystem, assignments, on_progress))
    homes = {entry.home for entry in dropped} - {entry.home for entry in assignments.entries()}
    for home in sorted(homes):
        for path in _maildirs_of(site, filesystem, home):
            show = filesystem.display_path(path)
            if not discard:
                expected = "as it is; --discard-mail removes it, which cannot be undone"
                found.append(Change(show, "mail", expected, severity=Severity.WARNING))
            elif filesystem.stat(f"{path}/new") is None:
                found.append(Change(show, "not a Maildir", "as it is", severity=Severity.WARNING))
            else:
                found.append(Change(show, "mail without a user", "removed", RemoveTree(path)))
    return found


def _maildirs_of(site: Site, filesystem: Filesystem, home: str) -> list[str]:
    """The Maildirs in a home that its .qmail files deliver to, and the usual ones, as far as they are there."""
    inside = within(site, home)
    names = filesystem.listdir(inside) if filesystem.stat(inside) is not None else []
    folders = {f"./{MAILDIR}/", f"./{default_maildir(site)}/"}
    for name in names:
        state = snapshot(f"{inside}/{name}", filesystem) if name.startswith(".qmail") else None
        steps = parse(state.content) if state is not None and state.kind == PathKind.FILE else []
        folders |= {text(argument) for kind, argument in steps if kind == MAILDIR_STEP}
    found = []
    for folder in sorted(folders):
        path = os.path.normpath(os.path.join(home, folder))
        if path.startswith(f"{home}/") and filesystem.stat(within(site, path)) is not None:
            found.append(within(site, path))
    return found


def plan_import(
    site: Site, filesystem: Filesystem, passwd: Iterable[bytes], replace: bool, on_progress: ProgressCallback
) -> list[Change]:
    """Actions after which every account of a passwd text gets mail; entries of other names stay."""
    try:
        made = b"".join(assign_text(read_assign_rules(site), passwd, home_owner))
    except CannotAssign as reason:
        raise EqmailError(f"{text(reason.text)}; without it this text of accounts makes no entries") from reason
    assignments = read_entries(site)
    assignments.put(Assignments("the accounts", made).entries(), replace)
    return list(plan_assign(site, filesystem, assignments, on_progress))


def plan_compile(site: Site, filesystem: Filesystem, on_progress: ProgressCallback = no_progress) -> list[Change]:
    """Actions after which the database matches users/assign."""
    path = within(site, assign_path(site))
    state = snapshot(path, filesystem)
    if state is None:
        raise EqmailError(f"{filesystem.display_path(path)}: missing; eqmail user add makes it")
    try:
        return list(_plan_database(site, filesystem, state.content, on_progress))
    except BadAssign as bad:
        raise require_entries(filesystem.display_path(path), state.content, bad) from bad


def read_entries(site: Site) -> Assignments:
    """The entries of users/assign.  Fails: EqmailError where its database is there without it."""
    path = assign_path(site)
    if os.path.exists(database_path(site)) and not os.path.exists(path):
        raise EqmailError(f"{path}: missing, while {database_path(site)} was made of it; restore it first")
    return read_assignments(path)


def plan_assign(
    site: Site, filesystem: Filesystem, assignments: Assignments, on_progress: ProgressCallback = no_progress
) -> Iterator[Change]:
    """Actions after which users/assign, and its database, have these entries."""
    path, content = within(site, assign_path(site)), assignments.content()
    state = snapshot(path, filesystem)
    if state is None or state.content != content:
        permissions = state.permissions if state else _permissions(site)
        yield Change(
            filesystem.display_path(path),
            "other entries" if state else "missing",
            "these",
            WriteFile(path, content, permissions),
        )
    yield from _plan_database(site, filesystem, content, on_progress)


def _plan_database(
    site: Site, filesystem: Filesystem, assign: bytes, on_progress: ProgressCallback
) -> Iterator[Change]:
    path, content = within(site, database_path(site)), compile_assign(assign, on_progress)
    state = snapshot(path, filesystem)
    if state is None or state.content != content:
        write = WriteFile(
            path, content, state.permissions if state and state.kind == PathKind.FILE else _permissions(site)
        )
        yield Change(filesystem.display_path(path), "older than its text" if state else "missing", "made anew", write)


def _plan_maildir(site: Site, filesystem: Filesystem, entry: AssignEntry, maildir: str) -> Iterator[Change]:
    """The home, the Maildir in it, and the .qmail file that selects it, as far as they are missing."""
    name = maildir.removeprefix("./").rstrip("/")
    if "/" in name or "\n" in name or name in ("", ".", ".."):
        raise usage_error(f"--maildir {maildir}: give the name of a folder in the home, such as {MAILDIR}")
    permissions = Permissions(user_name(entry.uid), group_name(entry.gid), 0o700)
    home = within(site, entry.home)
    folder = os.path.dirname(entry.home)
    if filesystem.stat(within(site, folder) if folder != site.home else "") is None:
        raise EqmailError(f"{folder}: missing; make it first, or choose another home with --home-dir")
    for path in (home, *(f"{home}/{name}{part}" for part in PARTS)):
        seen = filesystem.stat(path)
        if seen is None:
            yield Change(
                filesystem.display_path(path),
                "missing",
                "a directory",
                CreateNode(path, PathKind.DIRECTORY, permissions),
            )
        elif seen.kind != PathKind.DIRECTORY:
            raise EqmailError(f"{filesystem.display_path(path)}: {seen.kind}, should be a directory; move it away")
    path = f"{home}/.qmail"
    state = snapshot(path, filesystem)
    if state is None:
        before = _delivery_without_qmail(site, entry)
        if before and before != f"./{name}/":
            found = f"new mail goes to ./{name}/ instead of {before}"
            yield Change(filesystem.display_path(path), found, "checked: see --maildir", severity=Severity.INFO)
        write = WriteFile(path, os.fsencode(f"./{name}/\n"), permissions._replace(mode=0o600))
        yield Change(filesystem.display_path(path), "missing", f"delivery to {name}", write)
    elif os.fsencode(f"./{name}/") not in state.content.split(b"\n"):
        found = f"delivers to {text(state.content.strip().replace(_LINE_END, b' '))}"
        yield Change(filesystem.display_path(path), found, "as it is", severity=Severity.WARNING)


def _delivery_without_qmail(site: Site, entry: AssignEntry) -> str:
    """Where mail of an account with this home goes without a .qmail file; "" where no account has it."""
    account = _account(entry.user)
    if account is None or account.pw_dir.rstrip("/") != entry.home:
        return ""
    default = read_controls(site).defaultdelivery
    return text(default.strip()) if default else "./Mailbox"


def _permissions(site: Site) -> Permissions:
    return OwnershipPolicy(site, caller())("owner", 0o644)


def _account(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except (KeyError, ValueError):
        return None


def _ids(ids: str) -> tuple[int, int]:
    uid, colon, gid = ids.partition(":")
    if not (colon and uid.isascii() and uid.isdigit() and gid.isascii() and gid.isdigit()):
        raise usage_error(f"--ids {ids}: write UID:GID, such as 1001:1001")
    return int(uid), int(gid)
