"""A home below a staging root: its files are real, its owners and modes are written into a manifest.

Fails: OSError of the system.
"""

import os

from eqmail_core.system.files import write_atomically
from eqmail_setup.installation.manifest_nodes import Permissions
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
from eqmail_setup.transaction.filesystem import PathInfo

MANIFEST = "eqmail.manifest"


class StagedFilesystem(DiskFilesystem):
    """A home below a staging root: files are real, owners and modes are written into a manifest there.

    Needs no privilege; a packager gives the files their owners from the manifest: MODE OWNER GROUP PATH, one a line.
    """

    def __init__(self, home: str, root: str) -> None:
        super().__init__(home, root)
        self._manifest = f"{root.rstrip('/') or '/'}/{MANIFEST}"
        self._permissions: dict[str, Permissions] = {}
        try:
            with open(self._manifest, encoding="utf-8") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            mode, owner, group, path = line.split(" ", 3)
            self._permissions[path] = Permissions(owner, group, int(mode, 8))

    def stat(self, path: str) -> PathInfo | None:
        """What is there, in the permissions that was recorded for it."""
        seen = super().stat(path)
        return seen and seen._replace(permissions=self._permissions.get(self._full(path), seen.permissions))

    def sync(self) -> None:
        """Write the manifest, of what is there."""
        super().sync()
        lines = [
            f"{permissions.mode:04o} {permissions.owner} {permissions.group} {path}\n"
            for path, permissions in sorted(self._permissions.items())
            if os.path.lexists(self._root + path)
        ]
        write_atomically(self._manifest, "".join(lines).encode())

    def _apply_permissions(self, fd: int, path: str, permissions: Permissions) -> None:
        os.fchmod(fd, permissions.mode)
        self._permissions[self._full(path)] = permissions

    def _full(self, path: str) -> str:
        if path.startswith("/"):
            return path
        return f"{self.home}/{path}" if path else self.home
