"""Faults of message files, each with the action that repairs it.

A file in a wrong folder is moved to its own, a wrong dress is changed, and a message whose number is not the inode
number of its file, as in a queue that was copied or restored, gets a new number as if it came from elsewhere. The
services must be stopped for that. A repair cannot be rolled back.

Fails: Refusal; OSError.
"""

import os
from collections.abc import Iterator
from typing import NamedTuple

from eqmail_core.queue.admin.faults import QueueFaults, find_faults
from eqmail_core.queue.admin.repair import repair
from eqmail_core.queue.admin.transfer import TransferLog, survey_queue, transfer
from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError, Severity
from eqmail_setup.installation.staging import site_with_present_owners
from eqmail_setup.migration.copy_queue import transfer_log_path
from eqmail_setup.migration.source import lock_source_queue
from eqmail_setup.migration.staged_ownership import record_message_ownership
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.operations import Description, PredictedChanges, Verb
from eqmail_setup.transaction.plan import Change
from eqmail_setup.transaction.progress import progress


class RepairQueue(NamedTuple):
    """Give every file of a message its folder, its owner and its mode, and every message its number."""

    site: Site
    misplaced: int
    wrong_permissions: int
    misnamed: int

    def describe(self, filesystem: Filesystem) -> Description:
        """What this does."""
        parts = (
            (self.misplaced, "to their folders"),
            (self.wrong_permissions, "to their owners, with their modes"),
            (self.misnamed, "under numbers of their own"),
        )
        detail = ", ".join(f"{count} {what}" for count, what in parts if count)
        return Description(Verb.REPAIR, "queue", self.site.queue.root, detail)

    def predicted_changes(self, filesystem: Filesystem) -> PredictedChanges:
        """Nothing to restore."""
        yield from ()

    def apply(self, filesystem: Filesystem) -> None:
        """Do it."""
        site = self.site
        with lock_source_queue(site), progress("giving numbers", self.misnamed) as on_progress:
            repair(site_with_present_owners(site))
            wrong = [item for item in survey_queue(site).messages if not _is_right(item.files["mess"])]
            log = transfer_log_path(site.home, site, site)
            transfer(wrong, site.queue, TransferLog(log), on_progress, move=True)
            record_message_ownership(site, filesystem, log)


def plan_repair(site: Site) -> Iterator[Change]:
    """Faults of message files, with the action that repairs each where that is possible now."""
    found = find_faults(site_with_present_owners(site))
    action: RepairQueue | None = None
    remedy = ""
    if found.misplaced or found.wrong_permissions or found.misnamed:
        action = RepairQueue(site, len(found.misplaced), len(found.wrong_permissions), len(found.misnamed))
        try:
            with lock_source_queue(site):
                pass
        except EqmailError:
            action, remedy = None, "; stop the services, then: eqmail check --fix"
    for path, expected in _repairable(found):
        yield Change(path, *expected, action)._replace(expected=expected[1] + remedy)
    for path in found.unknown_files:
        yield Change(path, "no file of a queue", "elsewhere: move it away", severity=Severity.INFO)
    for number, folders in found.broken.items():
        expected_text = "examined; then stop the services and move the files away"
        fact = f"message {number} has files in {', '.join(sorted(folders))} only"
        yield Change(site.queue.root, fact, expected_text)


def _repairable(found: QueueFaults) -> Iterator[tuple[str, tuple[str, str]]]:
    for path in found.misplaced:
        yield path, ("in the wrong folder", "in the folder of its number")
    for path, what, expected in found.wrong_permissions:
        yield path, (what, expected)
    for path, inode in found.misnamed:
        yield path, (f"the inode number {inode}", "a message under its inode number")


def _is_right(path: str) -> bool:
    return os.lstat(path).st_ino == int(os.path.basename(path))
