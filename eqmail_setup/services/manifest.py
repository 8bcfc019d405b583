"""From files to nodes of the plan engine: in their places in the system, or all below one folder of the caller.

Folders that belong to the system are made where they are missing and otherwise left as they are; our own are dressed.

Fails: Refusal for a template that cannot be rendered.
"""

from jinja2 import TemplateError

from eqmail_core.site.site import Site
from eqmail_setup.errors import Refusal
from eqmail_setup.installation.accounts import caller, group_name, user_name
from eqmail_setup.installation.managed_file import PLACE, sealed
from eqmail_setup.installation.manifest_nodes import Directory, Dress, Generated, Node, folders_above
from eqmail_setup.services.managers import Piece
from eqmail_setup.templating import render_from
from eqmail_setup.transaction.filesystem import World


def content(piece: Piece, templates: str) -> bytes:
    """The sealed text of a file; `templates` is a folder whose templates go before ours, or ""."""
    try:
        text = render_from(templates, piece.template, piece.values.model_dump() | dict(piece.extra))
    except TemplateError as error:
        raise Refusal(f"{piece.template}: {type(error).__name__}: {error}") from error
    if PLACE not in text:
        seal = PLACE.decode().strip()
        raise Refusal(f"{piece.template}: needs a line {seal!r}, so that an edited file can be told from a written one")
    return sealed(text)


def in_place(pieces: list[Piece], templates: str, site: Site, world: World) -> list[Node]:
    """The nodes of an installation in the system's places."""
    found: dict[str, Node] = {}
    for piece in pieces:
        for folder in folders_above(piece.path):
            if folder not in found and world.look(folder) is None:
                found[folder] = Directory(folder, _dress("", 0o755, site))
        found[piece.path] = _node(piece, piece.path, _dress(piece.role, piece.mode, site), templates)
    return list(found.values())


def in_folder(pieces: list[Piece], templates: str) -> list[Node]:
    """The nodes of the same files below one folder, all owned by the caller."""
    user, group = caller()
    found: dict[str, Node] = {"": Directory("", Dress(user, group, 0o755))}
    for piece in pieces:
        if piece.short not in ("", "."):
            found[piece.short] = _node(piece, piece.short, Dress(user, group, piece.mode), templates)
    return list(found.values())


def _node(piece: Piece, path: str, dress: Dress, templates: str) -> Node:
    return Generated(path, dress, content(piece, templates)) if piece.template else Directory(path, dress)


def _dress(role: str, mode: int, site: Site) -> Dress:
    if site.single_user:
        return Dress(*caller(), mode)
    if not role:
        return Dress(user_name(0), group_name(0), mode)
    return Dress(site.accounts.user(role), site.accounts.group(role), mode)
