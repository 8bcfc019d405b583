"""What an administrator may do to one message on the disk (S5): the files' side of it, with or without a scheduler.

Whoever calls holds the lock of the queue or is the scheduler, and sees to it that nothing is delivered meanwhile.
Every verb leaves a state of the queue at each moment; done twice it does nothing more.

A held message is due in 2100 (`HELD_UNTIL`), written as the modification time of its lists, where any qmail-send looks.

Fails: Trouble.
Source: queue.md 3.3, 3.7.
"""

import os

from eqmail_core.dsn.parameters import NO_DSN, list_key
from eqmail_core.dsn.qsbmf import failure_block
from eqmail_core.queue.files import QueueFileError, QueueFiles
from eqmail_core.queue.format.channels import CHANNELS, HELD_UNTIL
from eqmail_core.queue.format.recipient_list import TODO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from eqmail_core.site.layout import QueuePaths

BOUNCED_BY_OPERATOR = b"The postmaster has taken this message out of the queue.\n"
"""What the sender is told about recipients who will not be tried again."""


def stamp_of(paths: "QueuePaths", number: int) -> bytes | None:
    """What tells this message from another that bears its number later; None where it is not on the disk.

    Fails: OSError.
    """
    try:
        return b"%d" % os.stat(paths.info(number)).st_ctime_ns
    except FileNotFoundError:
        return None


def set_due(files: QueueFiles, number: int, due: int) -> list[int]:
    """Note a time for every unfinished list of a message; the channels that have one."""
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
    files: QueueFiles, number: int, as_sent: "Callable[[bytes], bytes]", report: bytes = BOUNCED_BY_OPERATOR
) -> None:
    """Note every unfinished recipient as failed; what is left is to tell a sender who wishes it.

    A recipient is marked when that is on the disk, so that no crash leaves a sender who is told nothing.
    """
    dsn = files.info(number)[2]
    failed: list[tuple[int, int]] = []
    channels = [channel for channel, _ in files.birth_of(number) or ()]
    for channel in channels:
        try:
            for offset, mark, recipient in files.recipients(number, channel):
                if mark == TODO:
                    recipient_dsn = dsn.for_recipient(list_key(channel, offset)) if dsn is not None else NO_DSN
                    if recipient_dsn.wants_failure:
                        files.add_failure(number, failure_block(as_sent(recipient), report, recipient_dsn.orcpt))
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
    """Remove what is to be told and who is still to get it: the message ends without a word to anybody."""
    _remove(files, [files.paths.bounce(number)])
    remove_lists(files, number)


def remove_lists(files: QueueFiles, number: int) -> None:
    """Remove who is still to get it: nobody is tried again."""
    _remove(files, [files.paths.channel(name, number) for name in CHANNELS])


def _remove(files: QueueFiles, paths: list[str]) -> None:
    for path in paths:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise QueueFileError(b"unable to unlink " + files.short(path)) from error
