"""Putting the files of messages in order: what is wrong with them, and the action that mends it.

A file in a wrong folder is moved to its own, a wrong dress is changed, and a message whose number is not the inode
number of its file, as in a queue that was copied or restored, gets a new number as if it came from elsewhere. The
services must be stopped for that. There is no way back, as nobody wants it.

Fails: Refusal; OSError.
"""

import os
from collections.abc import Iterator
from typing import NamedTuple

from eqmail_core.queue.admin.faults import QueueFaults, find_faults
from eqmail_core.queue.admin.repair import repair
from eqmail_core.queue.admin.transfer import TransferLog, survey_queue, transfer
from eqmail_core.site.site import Site
from eqmail_setup.cli.progress import progress
from eqmail_setup.errors import Refusal
from eqmail_setup.installation.loading import on_disk
from eqmail_setup.migration.copy_queue import book_of
from eqmail_setup.migration.source import alone_with
from eqmail_setup.migration.staged_ownership import dress_messages
from eqmail_setup.transaction.filesystem import World
from eqmail_setup.transaction.operations import Left
from eqmail_setup.transaction.plan import Difference, Weight


class MendQueue(NamedTuple):
    """Give every file of a message its folder, its owner and its mode, and every message its number."""

    site: Site
    misplaced: int
    undressed: int
    misnamed: int

    def sentence(self, world: World) -> str:
        """What this does."""
        parts = (
            (self.misplaced, "to their folders"),
            (self.undressed, "to their owners, with their modes"),
            (self.misnamed, "under numbers of their own"),
        )
        return f"put {self.site.queue.root} in order: " + ", ".join(f"{count} {what}" for count, what in parts if count)

    def leaves(self, world: World) -> Left:
        """Nothing that anybody would want back."""
        yield from ()

    def perform(self, world: World) -> None:
        """Do it."""
        site = self.site
        with alone_with(site), progress("giving numbers", self.misnamed) as told:
            repair(on_disk(site))
            wrong = [item for item in survey_queue(site).messages if not _is_right(item.files["mess"])]
            book = book_of(site.home, site, site)
            transfer(wrong, site.queue, TransferLog(book), told, move=True)
            dress_messages(site, world, book)


def mending(site: Site) -> Iterator[Difference]:
    """What is wrong with the files of messages, with the action that mends it where it can be mended now."""
    found = find_faults(on_disk(site))
    action: MendQueue | None = None
    remedy = ""
    if found.misplaced or found.wrong_permissions or found.misnamed:
        action = MendQueue(site, len(found.misplaced), len(found.wrong_permissions), len(found.misnamed))
        try:
            with alone_with(site):
                pass
        except Refusal:
            action, remedy = None, "; stop the services, then: eqmail check --fix"
    for path, wanted in _mendable(found):
        yield Difference(path, *wanted, action)._replace(wanted=wanted[1] + remedy)
    for path in found.unknown_files:
        yield Difference(path, "no file of a queue", "elsewhere: move it away", weight=Weight.ADVICE)
    for number, folders in found.broken.items():
        wanted_text = "looked at by somebody; then stop the services and move the files away"
        fact = f"message {number} has files in {', '.join(sorted(folders))} only"
        yield Difference(site.queue.root, fact, wanted_text)


def _mendable(found: QueueFaults) -> Iterator[tuple[str, tuple[str, str]]]:
    for path in found.misplaced:
        yield path, ("where nobody looks for it", "in the folder of its number")
    for path, what, wanted in found.wrong_permissions:
        yield path, (what, wanted)
    for path, inode in found.misnamed:
        yield path, (f"the inode number {inode}", "a message under its inode number")


def _is_right(path: str) -> bool:
    return os.lstat(path).st_ino == int(os.path.basename(path))
