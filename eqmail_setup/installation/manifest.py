"""The table of an installation: every path with its owner, group and mode; those of the queue are in values.queue_tree.

In a single-user installation the caller owns everything.

Source: queue.md 3.1; programs.md 1.1-1.3, 1.10.
"""

from collections.abc import Iterator

from eqmail_core.queue.format.tree import FIFO, FOLDER, queue_nodes
from eqmail_core.site.layout import GREYLIST_FOLDER
from eqmail_core.site.site import Site
from eqmail_core.site.site_file import SITE_FILE, render_site
from eqmail_setup.installation.launchers import launcher_text, launchers, own_folders
from eqmail_setup.installation.managed_file import with_checksum
from eqmail_setup.installation.manifest_nodes import (
    BytecodeSpec,
    DirectorySpec,
    ExactFileSpec,
    FifoSpec,
    ManagedFileSpec,
    NodeSpec,
    Permissions,
    PreallocatedFileSpec,
    folders_above,
)
from eqmail_setup.installation.manual_pages import packaged_pages
from eqmail_setup.transaction.history import HISTORY_FOLDER as RUNS

_MANUAL_SECTIONS = "1578"


class OwnershipPolicy:
    """Maps a role to its account and group in one installation."""

    def __init__(self, site: Site, caller: tuple[str, str]) -> None:
        self._site = site
        self._caller = caller if site.single_user else None

    def __call__(self, role: str, mode: int) -> Permissions:
        """The dress of a thing that `role` owns; the group is always that of the queue."""
        owner, group = self._caller or (self._site.accounts.user(role), self._site.accounts.groups[0])
        return Permissions(owner, group, mode)


def server_secret_permissions(site: Site, caller: tuple[str, str]) -> Permissions:
    """Owner and mode of a file that only the SMTP server may read: its keys, its passwords."""
    return OwnershipPolicy(site, caller)("qmaild", 0o400)


def installation_manifest(site: Site, caller: tuple[str, str], staged: bool = False) -> list[NodeSpec]:
    """Every node of an installation, parents first. `staged`: without what lies outside the home."""
    permissions = OwnershipPolicy(site, caller)
    nodes: list[NodeSpec] = [
        *_base_folders(site, permissions),
        *_queue(site, permissions),
        *_programs(site, permissions),
        *_manual(permissions),
    ]
    if not staged:
        nodes += [BytecodeSpec(folder) for folder in own_folders()]
    return nodes


def base_manifest(site: Site, caller: tuple[str, str]) -> Iterator[tuple[str, Permissions, int]]:
    """Path, dress and number of parts of everything but programs and manuals, parents first."""
    permissions = OwnershipPolicy(site, caller)
    for node in (*_base_folders(site, permissions), *_queue(site, permissions)):
        yield node.path, node.permissions, node.split if isinstance(node, DirectorySpec) else 0


def target_manifest(site: Site, caller: tuple[str, str]) -> list[NodeSpec]:
    """What a home of another qmail needs to hold settings, users, aliases and a queue; its programs are its own.

    The paths begin with a slash, so that they are places of another home; the folders above it are among them.
    """
    permissions = OwnershipPolicy(site, caller)
    own = {path[len(site.home) + 1 :] for path in (site.queue.journal, site.queue.attempts)}
    nodes = [*_folders(site, permissions), *(node for node in _queue(site, permissions) if node.path not in own)]
    above = [DirectorySpec(folder, permissions("owner", 0o755)) for folder in folders_above(site.home)]
    return [*above, *(node._replace(path=f"{site.home}/{node.path}".rstrip("/")) for node in nodes)]


def _base_folders(site: Site, permissions: OwnershipPolicy) -> Iterator[DirectorySpec | ExactFileSpec]:
    yield from _folders(site, permissions)
    yield DirectorySpec(RUNS, permissions("owner", 0o700))
    yield ExactFileSpec(SITE_FILE, permissions("owner", 0o644), render_site(site))
    yield DirectorySpec(GREYLIST_FOLDER, permissions("qmaild", 0o700))
    common = permissions("owner", 0o755)
    for path in ("bin", "run", "doc", "man"):
        yield DirectorySpec(path, common)
    for kind in ("cat", "man"):
        for section in _MANUAL_SECTIONS:
            yield DirectorySpec(f"man/{kind}{section}", common)


def _folders(site: Site, permissions: OwnershipPolicy) -> Iterator[DirectorySpec]:
    """Where settings, users and aliases lie."""
    layout, common = site.layout, permissions("owner", 0o755)
    yield DirectorySpec("", common)
    inner = (layout.control, layout.users, layout.alias)
    for parent in dict.fromkeys(path.rpartition("/")[0] for path in (*inner, layout.queue) if "/" in path):
        yield DirectorySpec(parent, common)
    yield DirectorySpec(layout.control, common)
    yield DirectorySpec(layout.users, common)
    yield DirectorySpec(layout.alias, permissions("alias", 0o2755))


def _queue(site: Site, permissions: OwnershipPolicy) -> Iterator[DirectorySpec | FifoSpec | PreallocatedFileSpec]:
    for node in queue_nodes(site):
        path, expected = node.path[len(site.home) + 1 :], permissions(node.role, node.mode)
        if node.kind == FOLDER:
            yield DirectorySpec(path, expected, node.split)
        elif node.kind == FIFO:
            yield FifoSpec(path, expected)
        else:
            yield PreallocatedFileSpec(path, expected, node.size, node.grows)


def _programs(site: Site, permissions: OwnershipPolicy) -> Iterator[NodeSpec]:
    for program in launchers():
        yield ManagedFileSpec(
            f"bin/{program.name}", permissions("owner", program.mode), launcher_text(program, site.home)
        )


def _manual(permissions: OwnershipPolicy) -> Iterator[NodeSpec]:
    for path, content in packaged_pages():
        yield ManagedFileSpec(f"man/{path}", permissions("owner", 0o644), with_checksum(content), flush=False)
