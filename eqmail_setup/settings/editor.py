"""Changing control files: single lines of a list, or whole files; refused where a program could not use the result.

Fails: Refusal that names file, line and remedy.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from eqmail_core.access.rcpthosts_database import domain_records
from eqmail_core.control.checks import troubles
from eqmail_core.control.controls import Controls
from eqmail_core.control.kinds import Opaque
from eqmail_core.control.setting import Control
from eqmail_core.site.site import Site
from eqmail_core.text.lines import non_empty_lines
from eqmail_setup.errors import EqmailError, usage_error
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.manifest import OwnershipPolicy
from eqmail_setup.installation.manifest_nodes import PathKind, Permissions
from eqmail_setup.settings.cdb import database_bytes
from eqmail_setup.settings.secrets import has_secret
from eqmail_setup.transaction.filesystem import Filesystem, snapshot
from eqmail_setup.transaction.operations import RemoveFile, SetPermissions, WriteFile
from eqmail_setup.transaction.plan import Change


def declaration(name: str) -> Control[Any]:
    """The setting of this file name.

    Fails: Refusal for an unknown name, with the nearest one.
    """
    controls = {control.file: control for control in Controls.declared().values()}
    if name in controls:
        return controls[name]
    from difflib import get_close_matches

    near = get_close_matches(name, controls, 1)
    hint = ("eqmail", "config", "explain", near[0]) if near else ("eqmail", "config", "show")
    raise usage_error(f"unknown setting {name!r}", hint)


def path_of(site: Site, control: Control[Any]) -> str:
    """Where a setting lies, as the world wants it."""
    return f"{site.layout.control}/{control.file}"


def content_of(site: Site, filesystem: Filesystem, control: Control[Any]) -> bytes | None:
    """The bytes of a control file as they are; None where it does not exist."""
    state = snapshot(path_of(site, control), filesystem)
    if state is None:
        return None
    if state.kind != PathKind.FILE:
        return filesystem.read(path_of(site, control))
    return state.content


def plan_write(site: Site, filesystem: Filesystem, control: Control[Any], content: bytes) -> list[Change]:
    """Actions after which a control file has this content."""
    require_valid(site, control, content)
    path = path_of(site, control)
    state = snapshot(path, filesystem)
    if state is not None and state.content == content and state.kind == PathKind.FILE:
        return []
    permissions = (
        state.permissions if state and state.kind == PathKind.FILE else OwnershipPolicy(site, caller())("owner", 0o644)
    )
    if has_secret(control.file, content):
        permissions = secret_permissions(site, permissions)
    write = WriteFile(path, content, permissions)
    return [Change(filesystem.display_path(path), "other content" if state else "missing", "this content", write)]


def secret_permissions(site: Site, permissions: Permissions) -> Permissions:
    """The permissions of a file with secrets: those of the file, restricted to the owner and the group of the queue."""
    if not permissions.mode & 0o007:
        return permissions
    return permissions._replace(
        group=OwnershipPolicy(site, caller())("owner", 0o640).group, mode=permissions.mode & 0o640
    )


def plan_secret_files(site: Site, filesystem: Filesystem) -> Iterator[Change]:
    """Actions after which no control file that holds secrets is readable for every user."""
    for control in Controls.declared().values():
        if not control.is_secret or isinstance(control, Opaque):
            continue
        path = path_of(site, control)
        state = snapshot(path, filesystem)
        if state is None or state.kind is not PathKind.FILE or not has_secret(control.file, state.content):
            continue
        permissions = secret_permissions(site, state.permissions)
        if permissions != state.permissions:
            found = "every user can read the passwords in it"
            yield Change(filesystem.display_path(path), found, str(permissions), SetPermissions(path, permissions))


def plan_unset(site: Site, filesystem: Filesystem, control: Control[Any]) -> list[Change]:
    """Actions after which the default of a setting is in force."""
    path = path_of(site, control)
    if snapshot(path, filesystem) is None:
        return []
    return [Change(filesystem.display_path(path), "set", "absent, so that the default is in force", RemoveFile(path))]


def plan_compile(site: Site, filesystem: Filesystem, text: bytes) -> list[Change]:
    """Actions after which morercpthosts.cdb is what qmail-newmrh makes of this text."""
    path, content = path_of(site, Controls.morercpthosts_cdb), database_bytes(domain_records(text))
    state = snapshot(path, filesystem)
    if state is not None and state.content == content:
        return []
    write = WriteFile(path, content, state.permissions if state else OwnershipPolicy(site, caller())("owner", 0o644))
    return [Change(filesystem.display_path(path), "older than its text" if state else "missing", "made anew", write)]


def with_lines(content: bytes | None, lines: Iterable[bytes]) -> bytes:
    """A list with these lines at its end, as far as it has not got them; all others stay byte for byte."""
    made = content or b""
    for line in lines:
        if line.lower() not in {entry.lower() for entry in non_empty_lines(made)}:
            made += (b"" if made.endswith(b"\n") or not made else b"\n") + line + b"\n"
    return made


def without_lines(content: bytes | None, unwanted: Callable[[bytes], bool]) -> bytes | None:
    """A list without some entries; comments and all other lines stay byte for byte."""
    if content is None:
        return None
    kept = []
    for line in content.splitlines(keepends=True):
        entries = non_empty_lines(line)
        if not entries or not unwanted(entries[0]):
            kept.append(line)
    return b"".join(kept)


def require_valid(site: Site, control: Control[Any], content: bytes) -> None:
    """Refuse what a program could not use, or would read as something else than was meant."""
    for failure in troubles(control, content):
        where = f"{site.control}/{control.file}: " + (f"line {failure.line}: " if failure.line else "")
        raise usage_error(f"{where}{failure.said}", ("eqmail", "config", "explain", control.file))


def require_settable(control: Control[Any]) -> None:
    """Refuse what is made by a program and not by hand."""
    if control is Controls.morercpthosts_cdb:
        raise EqmailError(f"{control.file} is made of {Controls.morercpthosts.file}; set that one")
