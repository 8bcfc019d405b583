"""The tree of a queue agrees with the table that setup installs from."""

import pytest

from eqmail_core.queue.format.tree import queue_tree
from eqmail_core.site.layout import LAYOUTS
from eqmail_core.site.site import Site
from eqmail_setup.installation.manifest import installation_manifest
from eqmail_setup.installation.manifest_nodes import DirectorySpec, FifoSpec, PreallocatedFileSpec


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: str(layout.name))
def test_setup_and_repair_mean_the_same_queue(layout: object) -> None:
    site = next(Site(home="/h", layout=known, split=5) for known in LAYOUTS.values() if known is layout)
    prefix = site.queue.root.removeprefix("/h/")
    installed = set()
    for node in installation_manifest(site, ("me", "us"), staged=True):
        if isinstance(node, (DirectorySpec, FifoSpec, PreallocatedFileSpec)) and (node.path + "/").startswith(
            prefix + "/"
        ):
            parts = range(node.split) if isinstance(node, DirectorySpec) else ()
            installed |= {
                (path, node.permissions.owner, node.permissions.mode)
                for path in (node.path, *(f"{node.path}/{part}" for part in parts))
            }
    expected = {(node.path.removeprefix("/h/"), site.accounts.user(node.role), node.mode) for node in queue_tree(site)}
    assert installed == expected
