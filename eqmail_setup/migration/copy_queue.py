"""Copies or moves the queue of one home into another, as a part of a transaction.

A rollback leaves the copies, because services may have delivered them since.  Each is in a log below the history of the
installation, so that none is copied twice, however often the command is given.

Fails: Refusal; OSError.
"""

import hashlib
import os
from collections.abc import Iterator
from typing import NamedTuple

from eqmail_core.queue.admin.transfer import TransferLog, survey_queue, transfer
from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError, Severity
from eqmail_setup.installation.staging import final_path, is_staged
from eqmail_setup.migration.source import lock_source_queue
from eqmail_setup.migration.staged_ownership import record_message_ownership
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.history import HISTORY_FOLDER
from eqmail_setup.transaction.operations import Description, PredictedChanges, Verb
from eqmail_setup.transaction.plan import Change
from eqmail_setup.transaction.progress import progress

_OVERHEAD = 4 * 4096
"""What a message takes on the disk besides its bytes, at most: four small files."""


class TransferQueue(NamedTuple):
    """Copy messages from one queue into another, and for a move remove the originals."""

    source: Site
    target: Site
    log_path: str
    messages: int
    move: bool

    def describe(self, filesystem: Filesystem) -> Description:
        """What this does."""
        verb = Verb.MOVE if self.move else Verb.COPY
        what = f"{_messages(self.messages)} from {self.source.queue.root} to"
        return Description(verb, what, self.target.queue.root)

    def irreversible_effect(self) -> bool:
        """Whether originals go."""
        return self.move

    def predicted_changes(self, filesystem: Filesystem) -> PredictedChanges:
        """Nothing that could be put back."""
        yield from ()

    def apply(self, filesystem: Filesystem) -> None:
        """Do it."""
        with lock_source_queue(self.source, self.target), progress("copying messages", self.messages) as on_progress:
            found = survey_queue(self.source).messages
            os.makedirs(os.path.dirname(self.log_path), mode=0o700, exist_ok=True)
            transfer(found, self.target.queue, TransferLog(self.log_path), on_progress, self.move)
            record_message_ownership(self.target, filesystem, self.log_path)


def plan_queue_transfer(home: str, source: Site, target: Site, move: bool) -> Iterator[Change]:
    """Actions after which every message of the source is in the target; the list of copied messages is in `home`.

    Fails: Refusal where a scheduler runs, where the disk is too small, and where it would bring messages back to a
    home that still has the originals.
    """
    with lock_source_queue(source, target):
        found = survey_queue(source)
        log = TransferLog(transfer_log_path(home, source, target))
        waiting = [message for message in found.messages if message not in log]
        _require_no_originals(home, source, target)
    queue = source.queue.root
    if found.remains:
        expected = "where they are: no message belongs to them"
        yield Change(queue, f"files of {_numbers(found.remains)}", expected, severity=Severity.WARNING)
    if found.unfinished:
        expected = "where they are: these submissions never ended"
        yield Change(queue, f"files of {_numbers(found.unfinished)}", expected, severity=Severity.WARNING)
    if waiting or (move and found.messages):
        _require_space(target, sum(message.size + _OVERHEAD for message in waiting))
        count = len(found.messages) if move else len(waiting)
        action = TransferQueue(source, target, log.path, count, move)
        yield Change(queue, _messages(count), f"in {target.queue.root}", action)
        if is_staged(target):
            expected = "put in place by renaming, on one file system: message numbers are inode numbers"
            yield Change(target.queue.root, "staged", expected, severity=Severity.INFO)
    elif found.messages:
        yield Change(
            queue, f"{_messages(len(found.messages))} that were copied before", "as it is", severity=Severity.WARNING
        )


def transfer_log_path(home: str, source: Site, target: Site) -> str:
    """The path of the log of transfers from one queue to another, in `home`; the same once all is in place."""
    queues = "\0".join(os.path.realpath(final_path(site, site.queue.root)) for site in (source, target))
    return f"{home}/{HISTORY_FOLDER}/queue-{hashlib.sha256(os.fsencode(queues)).hexdigest()[:16]}"


def _require_no_originals(home: str, source: Site, target: Site) -> None:
    """Refuse to bring messages to where they came from while their originals are still there: all would come twice."""
    before = TransferLog(transfer_log_path(home, target, source))
    left = sum(message in before for message in survey_queue(target).messages)
    if left:
        words = f"import {target.home}" if source.home == home else f"export --to {source.layout.name} {source.home}"
        raise EqmailError(
            f"{target.queue.root} still has the originals of {_messages(left)} that were copied to {source.home}; "
            f"remove them first: eqmail --home {home} {words} --move"
        )


def _require_space(target: Site, size: int) -> None:
    folder = target.queue.root
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    room = os.statvfs(folder)
    free = room.f_bavail * room.f_frsize
    if free < size:
        raise EqmailError(f"{folder}: {size >> 20} MiB are needed and {free >> 20} MiB are free; make room first")


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


def _numbers(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:5]))
    return shown if len(numbers) <= 5 else f"{shown} and {len(numbers) - 5} more"
