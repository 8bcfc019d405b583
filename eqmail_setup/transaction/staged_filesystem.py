"""A home below a staging root: its files are real, its owners and modes are written into a manifest.

Fails: OSError as the system says it.
"""

import os

from eqmail_core.system.files import write_atomically
from eqmail_setup.installation.manifest_nodes import Dress
from eqmail_setup.transaction.disk_filesystem import RealWorld
from eqmail_setup.transaction.filesystem import Seen

MANIFEST = "eqmail.manifest"


class RecordedWorld(RealWorld):
    """A home below a staging root: files are real, owners and modes are written into a manifest there.

    Needs no privilege; a packager gives the files their owners from the manifest: MODE OWNER GROUP PATH, one a line.
    """

    def __init__(self, home: str, root: str) -> None:
        super().__init__(home, root)
        self._manifest = f"{root.rstrip('/') or '/'}/{MANIFEST}"
        self._dresses: dict[str, Dress] = {}
        try:
            with open(self._manifest, encoding="utf-8") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            mode, owner, group, path = line.split(" ", 3)
            self._dresses[path] = Dress(owner, group, int(mode, 8))

    def look(self, path: str) -> Seen | None:
        """What is there, in the dress that was recorded for it."""
        seen = super().look(path)
        return seen and seen._replace(dress=self._dresses.get(self._full(path), seen.dress))

    def finish(self) -> None:
        """Write the manifest, of what is there."""
        super().finish()
        lines = [
            f"{dress.mode:04o} {dress.owner} {dress.group} {path}\n"
            for path, dress in sorted(self._dresses.items())
            if os.path.lexists(self._root + path)
        ]
        write_atomically(self._manifest, "".join(lines).encode())

    def _dress(self, fd: int, path: str, dress: Dress) -> None:
        os.fchmod(fd, dress.mode)
        self._dresses[self._full(path)] = dress

    def _full(self, path: str) -> str:
        if path.startswith("/"):
            return path
        return f"{self.home}/{path}" if path else self.home
