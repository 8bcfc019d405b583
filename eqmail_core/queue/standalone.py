"""Queues a message without the service, as C qmail-queue does.

The caller needs permission to write the queue.

Root queues as the owner of the queue's files, so that the spawners trust them.

Source: queue.md 3.5.
"""

import os
import time

from eqmail_core.mail.dates import date822
from eqmail_core.mail.received import invoked_line, invoker_name
from eqmail_core.queue.filesystem import FileSystem
from eqmail_core.queue.format import exit_codes as q
from eqmail_core.queue.format.envelope import DSN_TIMEOUT_S
from eqmail_core.queue.spool import SpoolError, Submitter, queue_one
from eqmail_core.site.layout import QueuePaths
from eqmail_core.system.files import CHUNK, has_more
from eqmail_core.system.role_ids import submitter_uids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.site.site import Site


def queue_without_service(site: "Site", message: int, envelope: int) -> int:
    """Queue the message on one descriptor for the envelope on another.

    Returns the exit code of qmail-queue.

    71 where the caller may not write the queue: then it has to wait for the service.
    """
    try:
        os.chdir(site.home)
    except PermissionError:
        return q.SERVICE_AWAY
    except OSError:
        return q.NO_HOME
    try:
        os.chdir(site.layout.queue)
    except PermissionError:
        return q.SERVICE_AWAY
    except OSError:
        return q.NO_QUEUE
    paths = QueuePaths(".", site.split, site.layout.split_todo)
    pid, uid, now = os.getpid(), os.getuid(), int(time.time())
    received = invoked_line(pid, invoker_name(uid, *submitter_uids(site)), date822(now))
    try:
        _own_files_as(paths.pid)
        queue_one(
            FileSystem(),
            paths,
            Submitter(pid, uid, now, received),
            lambda: os.read(message, CHUNK),
            lambda: os.read(envelope, CHUNK),
            lambda: has_more(envelope, DSN_TIMEOUT_S),
        )
    except SpoolError as trouble:
        refused = trouble.code == q.NO_PID_FILE and isinstance(trouble.__cause__, PermissionError)
        return q.SERVICE_AWAY if refused else trouble.code
    return q.OK


def _own_files_as(folder: str) -> None:
    """Act as the owner of `folder` when run as root."""
    if os.geteuid() != 0:
        return
    try:
        owner = os.stat(folder)
        if owner.st_uid != 0:
            os.setegid(owner.st_gid)
            os.seteuid(owner.st_uid)
    except OSError as error:
        raise SpoolError(q.NO_PID_FILE) from error
