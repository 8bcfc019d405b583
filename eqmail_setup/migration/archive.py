"""An archive of an installation: settings, users and aliases with owners and modes, as one gzipped tar file.

Neither mail nor the queue nor the history is in it: a queue lives by its inode numbers; `eqmail export` moves it.

Fails: OSError; EqmailError for an archive that is damaged or of something else.
"""

import io
import os
import stat
import tarfile
from collections.abc import Iterator

from eqmail_core.site.site import Site
from eqmail_core.site.site_file import SITE_FILE
from eqmail_setup.errors import EqmailError, Severity
from eqmail_setup.installation.accounts import group_name, group_number, user_name, user_number
from eqmail_setup.installation.manifest_nodes import PathKind, Permissions
from eqmail_setup.transaction.filesystem import Filesystem, snapshot
from eqmail_setup.transaction.operations import CreateNode, CreateSymlink, WriteFile
from eqmail_setup.transaction.plan import Change

MAX_FILE_BYTES = 1 << 30
_MAIL_FOLDERS = {"new", "cur", "tmp"}
_MAILBOX = "Mailbox"


def write_archive(site: Site, path: str) -> int:
    """Write the archive, readable for its owner only; how many files are in it."""
    count = 0
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file, tarfile.open(fileobj=file, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
            for name, full in _entries(site):
                archive.add(full, arcname=name, recursive=False)
                count += 1
            file.flush()
    except BaseException:
        os.unlink(path)
        raise
    return count


def plan_restore(site: Site, filesystem: Filesystem, path: str) -> Iterator[Change]:
    """Actions after which everything in the archive is in the installation; the rest of it stays."""
    tops = {site.layout.control, site.layout.users, site.layout.alias}
    try:
        with tarfile.open(path, "r:*") as archive:
            members = archive.getmembers()
            if not any(member.name == SITE_FILE for member in members):
                raise EqmailError(f"{path}: not an archive of eqmail backup")
            for member in members:
                if member.name == SITE_FILE:
                    continue
                if not _is_inside(member.name, tops):
                    yield Change(
                        member.name, "not a path of this installation's layout", "out", severity=Severity.WARNING
                    )
                    continue
                yield from _plan_member(archive, member, filesystem)
    except (tarfile.TarError, EOFError) as error:
        raise EqmailError(f"{path}: damaged archive: {error}") from error


def _entries(site: Site) -> Iterator[tuple[str, str]]:
    """Name in the archive and path of everything that belongs into it, folders before what is in them."""
    yield SITE_FILE, f"{site.home}/{SITE_FILE}"
    for top in (site.layout.control, site.layout.users, site.layout.alias):
        for where, folders, files in os.walk(f"{site.home}/{top}"):
            if set(folders) >= _MAIL_FOLDERS:
                folders[:] = [name for name in folders if name not in _MAIL_FOLDERS]
            yield where.removeprefix(f"{site.home}/"), where
            for name in sorted(files):
                full = f"{where}/{name}"
                mode = os.lstat(full).st_mode
                if name != _MAILBOX and (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
                    yield full.removeprefix(f"{site.home}/"), full


def _is_inside(name: str, tops: set[str]) -> bool:
    parts = name.split("/")
    return ".." not in parts and any(name == top or name.startswith(f"{top}/") for top in tops)


def _plan_member(archive: tarfile.TarFile, member: tarfile.TarInfo, filesystem: Filesystem) -> Iterator[Change]:
    there, show = snapshot(member.name, filesystem), filesystem.display_path(member.name)
    permissions = _permissions(member)
    if member.isdir():
        if there is None:
            yield Change(show, "missing", "directory", CreateNode(member.name, PathKind.DIRECTORY, permissions))
    elif member.issym():
        target = os.fsencode(member.linkname)
        if there is None or (there.kind, there.content) != (PathKind.SYMLINK, target):
            yield Change(show, "other", f"link to {member.linkname}", CreateSymlink(member.name, member.linkname))
    elif member.isreg() and member.size <= MAX_FILE_BYTES:
        content = (archive.extractfile(member) or io.BytesIO()).read()
        if there is None or (there.kind, there.content, there.permissions) != (PathKind.FILE, content, permissions):
            found = "missing" if there is None else "other"
            yield Change(show, found, "content of the archive", WriteFile(member.name, content, permissions))


def _permissions(member: tarfile.TarInfo) -> Permissions:
    """Owner and group by name where this system knows them, else by number."""
    owner, group = member.uname, member.gname
    try:
        user_number(owner)
    except KeyError:
        owner = user_name(member.uid)
    try:
        group_number(group)
    except KeyError:
        group = group_name(member.gid)
    return Permissions(owner, group, stat.S_IMODE(member.mode))
