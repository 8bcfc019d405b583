"""What uninstalling removes: programs, manuals and links, as far as they are still as setup wrote them.

Fails: OSError.
"""

import os
from collections.abc import Iterator

from eqmail_core.site.site import Site
from eqmail_setup.errors import Severity
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.managed_file import Origin, origin_of
from eqmail_setup.installation.manifest import installation_manifest
from eqmail_setup.installation.manifest_nodes import ManagedFileSpec, PathKind
from eqmail_setup.installation.system_links import installed_links
from eqmail_setup.transaction.filesystem import Filesystem, snapshot
from eqmail_setup.transaction.operations import RemoveFile
from eqmail_setup.transaction.plan import Change


def plan_uninstall(site: Site, filesystem: Filesystem) -> Iterator[Change]:
    """Actions after which no program, manual page or link of the installation is left."""
    for path in installed_links(site):
        yield Change(path, "link", "removed", RemoveFile(path))
    for node in installation_manifest(site, caller(), staged=True):
        if not isinstance(node, ManagedFileSpec):
            continue
        state = snapshot(node.path, filesystem)
        if state is None:
            continue
        show = filesystem.display_path(node.path)
        if state.kind is PathKind.FILE and origin_of(state.content) is Origin.MANAGED:
            yield Change(show, "managed file", "removed", RemoveFile(node.path))
        else:
            yield Change(show, "locally modified", "as it is", severity=Severity.WARNING)


def queued_messages(site: Site) -> int:
    """How many messages lie in the queue."""
    return sum(len(names) for _, _, names in os.walk(f"{site.queue.root}/mess"))
