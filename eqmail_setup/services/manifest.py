"""From files to nodes of the plan engine: in their places in the system, or all below one folder of the caller.

Folders that belong to the system are made where they are missing and otherwise left as they are; our own are dressed.

Fails: Refusal for a template that cannot be rendered.
"""

from jinja2 import TemplateError

from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError
from eqmail_setup.installation.accounts import caller, group_name, user_name
from eqmail_setup.installation.managed_file import PLACE, with_checksum
from eqmail_setup.installation.manifest_nodes import (
    DirectorySpec,
    ManagedFileSpec,
    NodeSpec,
    Permissions,
    folders_above,
)
from eqmail_setup.services.managers import ServiceFile
from eqmail_setup.templating import render_from
from eqmail_setup.transaction.filesystem import Filesystem


def content(piece: ServiceFile, templates: str) -> bytes:
    """The sealed text of a file; `templates` is a folder whose templates go before ours, or ""."""
    try:
        text = render_from(templates, piece.template, piece.values.model_dump() | dict(piece.extra))
    except TemplateError as error:
        raise EqmailError(f"{piece.template}: {type(error).__name__}: {error}") from error
    if PLACE not in text:
        seal = PLACE.decode().strip()
        raise EqmailError(f"{piece.template}: needs a line {seal!r}, so that an edited file can be recognized")
    return with_checksum(text)


def in_place(pieces: list[ServiceFile], templates: str, site: Site, filesystem: Filesystem) -> list[NodeSpec]:
    """The nodes of an installation in the system's places."""
    found: dict[str, NodeSpec] = {}
    for piece in pieces:
        for folder in folders_above(piece.path):
            if folder not in found and filesystem.stat(folder) is None:
                found[folder] = DirectorySpec(folder, _permissions("", 0o755, site))
        found[piece.path] = _node(piece, piece.path, _permissions(piece.role, piece.mode, site), templates)
    return list(found.values())


def in_folder(pieces: list[ServiceFile], templates: str) -> list[NodeSpec]:
    """The nodes of the same files below one folder, all owned by the caller."""
    user, group = caller()
    found: dict[str, NodeSpec] = {"": DirectorySpec("", Permissions(user, group, 0o755))}
    for piece in pieces:
        if piece.short not in ("", "."):
            found[piece.short] = _node(piece, piece.short, Permissions(user, group, piece.mode), templates)
    return list(found.values())


def _node(piece: ServiceFile, path: str, permissions: Permissions, templates: str) -> NodeSpec:
    return (
        ManagedFileSpec(path, permissions, content(piece, templates))
        if piece.template
        else DirectorySpec(path, permissions)
    )


def _permissions(role: str, mode: int, site: Site) -> Permissions:
    if site.single_user:
        return Permissions(*caller(), mode)
    if not role:
        return Permissions(user_name(0), group_name(0), mode)
    return Permissions(site.accounts.user(role), site.accounts.group(role), mode)
