"""The table of an installation: every path with its owner, group and mode; those of the queue are in values.queue_tree.

In a single-user installation the caller owns everything.

Source: queue.md 3.1; programs.md 1.1-1.3, 1.10.
"""

from collections.abc import Iterator

from eqmail_core.queue.format.tree import FIFO, FOLDER, queue_nodes
from eqmail_core.site.site import Site
from eqmail_core.site.site_file import SITE_FILE, render_site
from eqmail_setup.installation.launchers import own_folders, program_text, programs
from eqmail_setup.installation.managed_file import sealed
from eqmail_setup.installation.manifest_nodes import (
    Compiled,
    Directory,
    Dress,
    Fifo,
    Generated,
    Node,
    Settled,
    Zeroed,
    folders_above,
)
from eqmail_setup.reference.manual import pages
from eqmail_setup.transaction.history import FOLDER as RUNS

_MANUAL_SECTIONS = "1578"


class Wardrobe:
    """Says which account and group stand behind a role in one installation."""

    def __init__(self, site: Site, caller: tuple[str, str]) -> None:
        self._site = site
        self._caller = caller if site.single_user else None

    def __call__(self, role: str, mode: int) -> Dress:
        """The dress of a thing that `role` owns; the group is always that of the queue."""
        owner, group = self._caller or (self._site.accounts.user(role), self._site.accounts.groups[0])
        return Dress(owner, group, mode)


def secret_of_server(site: Site, caller: tuple[str, str]) -> Dress:
    """The dress of a file that the SMTP server may read, and nobody else: its keys, its passwords."""
    return Wardrobe(site, caller)("qmaild", 0o400)


def hierarchy(site: Site, caller: tuple[str, str], staged: bool = False) -> list[Node]:
    """Every node of an installation, parents first. `staged`: without what lies outside the home."""
    dress = Wardrobe(site, caller)
    nodes: list[Node] = [*_frame(site, dress), *_queue(site, dress), *_programs(site, dress), *_manual(dress)]
    if not staged:
        nodes += [Compiled(folder) for folder in own_folders()]
    return nodes


def skeleton(site: Site, caller: tuple[str, str]) -> Iterator[tuple[str, Dress, int]]:
    """Path, dress and number of parts of everything but programs and manuals, parents first."""
    dress = Wardrobe(site, caller)
    for node in (*_frame(site, dress), *_queue(site, dress)):
        yield node.path, node.dress, node.split if isinstance(node, Directory) else 0


def foreign_hierarchy(site: Site, caller: tuple[str, str]) -> list[Node]:
    """What a home of another qmail needs to hold settings, users, aliases and a queue; its programs are its own.

    The paths begin with a slash, so that they are places of another home; the folders above it are among them.
    """
    dress = Wardrobe(site, caller)
    journal = site.queue.journal[len(site.home) + 1 :]
    nodes = [*_folders(site, dress), *(node for node in _queue(site, dress) if node.path != journal)]
    above = [Directory(folder, dress("owner", 0o755)) for folder in folders_above(site.home)]
    return [*above, *(node._replace(path=f"{site.home}/{node.path}".rstrip("/")) for node in nodes)]


def _frame(site: Site, dress: Wardrobe) -> Iterator[Directory | Settled]:
    yield from _folders(site, dress)
    yield Directory(RUNS, dress("owner", 0o700))
    yield Settled(SITE_FILE, dress("owner", 0o644), render_site(site))
    common = dress("owner", 0o755)
    for path in ("bin", "run", "doc", "man"):
        yield Directory(path, common)
    for kind in ("cat", "man"):
        for section in _MANUAL_SECTIONS:
            yield Directory(f"man/{kind}{section}", common)


def _folders(site: Site, dress: Wardrobe) -> Iterator[Directory]:
    """Where settings, users and aliases lie."""
    layout, common = site.layout, dress("owner", 0o755)
    yield Directory("", common)
    inner = (layout.control, layout.users, layout.alias)
    for parent in dict.fromkeys(path.rpartition("/")[0] for path in (*inner, layout.queue) if "/" in path):
        yield Directory(parent, common)
    yield Directory(layout.control, common)
    yield Directory(layout.users, common)
    yield Directory(layout.alias, dress("alias", 0o2755))


def _queue(site: Site, dress: Wardrobe) -> Iterator[Directory | Fifo | Zeroed]:
    for node in queue_nodes(site):
        path, worn = node.path[len(site.home) + 1 :], dress(node.role, node.mode)
        if node.kind == FOLDER:
            yield Directory(path, worn, node.split)
        else:
            yield Fifo(path, worn) if node.kind == FIFO else Zeroed(path, worn, node.size)


def _programs(site: Site, dress: Wardrobe) -> Iterator[Node]:
    for program in programs():
        yield Generated(f"bin/{program.name}", dress("owner", program.mode), program_text(program, site.home))


def _manual(dress: Wardrobe) -> Iterator[Node]:
    for page in pages():
        yield Generated(f"man/{page.path}", dress("owner", 0o644), sealed(page.content), flush=False)
