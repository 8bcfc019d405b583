"""An administrator's changes to the files of one message on the disk (S5).

They work with or without a scheduler.

The caller holds the lock of the queue or is the scheduler, and ensures that no delivery of the message runs. Every
function leaves a valid state of the queue at each moment; a repeated call changes nothing more.

A held message is due in 2100 (`HELD_UNTIL`), written as the modification time of its lists, where any qmail-send looks.

Fails: QueueFileError.
Source: queue.md 3.3, 3.7.
"""

import os

from eqmail_core.dsn.parameters import NO_DSN
from eqmail_core.dsn.qsbmf import failure_block
from eqmail_core.queue.files import QueueFileError, QueueFiles
from eqmail_core.queue.format.channels import CHANNELS, HELD_UNTIL
from eqmail_core.queue.format.recipient_list import MARK_TODO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from eqmail_core.site.layout import QueuePaths

BOUNCED_BY_OPERATOR = b"The postmaster has taken this message out of the queue.\n"
"""The text in the bounce about recipients that are not tried again."""


def stamp_of(paths: "QueuePaths", number: int) -> bytes | None:
    """Return a stamp that no later message with this number has.

    None if the message is not on the disk.
    Fails: OSError.
    """
    try:
        return b"%d" % os.stat(paths.info(number)).st_ctime_ns
    except FileNotFoundError:
        return None


def set_due(files: QueueFiles, number: int, due: int) -> list[int]:
    """Set the due time of every unfinished list of a message; return the channels that have one."""
    channels = [channel for channel, _ in files.birth_of(number) or ()]
    for channel in channels:
        files.note_due(number, channel, due)
        if due >= HELD_UNTIL:
            path = files.paths.channel(CHANNELS[channel], number)
            try:
                noted = int(os.stat(path).st_mtime)
            except OSError as error:
                raise QueueFileError(b"unable to stat " + files.short(path)) from error
            if noted != due:
                raise QueueFileError(b"the file system cannot note a time in 2100 for " + files.short(path))
    return channels


def fail_recipients(
    files: QueueFiles, number: int, original_address: "Callable[[bytes], bytes]", report: bytes = BOUNCED_BY_OPERATOR
) -> None:
    """Note every unfinished recipient as failed.

    Only the bounces that the sender requested remain to be sent.

    A recipient is marked once its failure is on the disk, so that no crash loses a failure that needs a bounce.
    """
    dsn = files.info(number).dsn
    failed: list[tuple[int, int]] = []
    channels = [channel for channel, _ in files.birth_of(number) or ()]
    for channel in channels:
        try:
            for offset, mark, recipient in files.recipients(number, channel):
                if mark == MARK_TODO:
                    recipient_dsn = dsn.listed(channel, offset) if dsn is not None else NO_DSN
                    if recipient_dsn.wants_failure:
                        files.add_failure(
                            number, failure_block(original_address(recipient), report, recipient_dsn.orcpt)
                        )
                    failed.append((channel, offset))
        except OSError as error:
            path = files.paths.channel(CHANNELS[channel], number)
            raise QueueFileError(b"trouble reading " + files.short(path)) from error
    if files.has_failures(number):
        files.flush_failures(number)
    for channel, offset in failed:
        files.mark_done(number, channel, offset)
    for channel in channels:
        files.finish_channel(number, channel)


def drop_recipients(files: QueueFiles, number: int) -> None:
    """Remove failures and unfinished recipients: the message ends without a bounce."""
    _remove(files, [files.paths.bounce(number)])
    remove_lists(files, number)


def remove_lists(files: QueueFiles, number: int) -> None:
    """Remove the recipient lists: no recipient is tried again."""
    _remove(files, [files.paths.channel(name, number) for name in CHANNELS])


def _remove(files: QueueFiles, paths: list[str]) -> None:
    for path in paths:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise QueueFileError(b"unable to unlink " + files.short(path)) from error
