"""Changes messages of a queue: through the scheduler if it runs, else on the files under its lock.

Both ways accept the same verbs and targets and give the same results, see ipc/scheduler_control_protocol.py.

Fails: QueueInUse where a scheduler runs that has no control socket (C's, or a classic one); OSError.
"""

import os

from eqmail_core.ipc import scheduler_control_protocol as wire
from eqmail_core.queue.admin.actions import drop_recipients, fail_recipients, set_due, stamp_of
from eqmail_core.queue.admin.repair import remove_message
from eqmail_core.queue.admin.scheduler_client import SchedulerClient, SchedulerState, connect_to_scheduler
from eqmail_core.queue.files import QueueFileError, QueueFiles
from eqmail_core.queue.format.channels import HELD_UNTIL
from eqmail_core.queue.lock import lock_scheduling
from eqmail_core.system.installation import read_controls
from eqmail_core.system.privileges import become_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from eqmail_core.site.site import Site

RETRY, HOLD, RELEASE, DELETE, BOUNCE, MOVE = wire.VERBS
DONE, BUSY, GONE, CHANGED, NEW = wire.DONE, wire.BUSY, wire.GONE, wire.CHANGED, wire.NEW


class OfflineQueueControl:
    """Changes files directly; no other process changes them while this is open.

    `now`: time of all changes.
    """

    def __init__(self, site: "Site", now: int) -> None:
        self._lock = lock_scheduling(site.queue)
        self._files = QueueFiles(site.queue)
        self._original_address = _original_address_of(site)
        self._actions: dict[bytes, Callable[[int], object]] = {
            wire.RETRY: lambda number: set_due(self._files, number, now),
            wire.RELEASE: lambda number: set_due(self._files, number, now),
            wire.HOLD: lambda number: set_due(self._files, number, HELD_UNTIL),
            wire.DELETE: self._delete,
            wire.MOVE: self._delete,
            wire.BOUNCE: lambda number: fail_recipients(self._files, number, self._original_address),
        }

    def close(self) -> None:
        """Release the lock of the queue."""
        os.close(self._lock)

    def scheduler_state(self) -> SchedulerState | None:
        """Return None: the files hold the whole state."""
        return None

    def counters(self) -> dict[str, int]:
        """Return no counters, because no scheduler runs."""
        return {}

    def change(self, verb: bytes, targets: "Iterable[tuple[int, bytes]]") -> "Iterator[tuple[int, bytes]]":
        """Change messages; yield number and result of each."""
        for number, stamp in targets:
            yield number, self._change(verb, number, stamp)

    def _change(self, verb: bytes, number: int, stamp: bytes) -> bytes:
        try:
            found = stamp_of(self._files.paths, number)
            if found is None:
                return wire.GONE
            if found != stamp:
                return wire.CHANGED
            if self._files.birth_of(number) is None:
                return wire.NEW
            self._actions[verb](number)
        except QueueFileError as trouble:
            return trouble.text
        except OSError as error:
            return (error.strerror or "trouble").encode()
        return wire.DONE

    def _delete(self, number: int) -> None:
        drop_recipients(self._files, number)
        remove_message(self._files.paths, number)


QueueControl = SchedulerClient | OfflineQueueControl


def open_control(site: "Site", now: int, verb: bytes = b"") -> QueueControl:
    """Return a connection to the scheduler, or exclusive access to the queue.

    `verb` decides which permissions are needed.

    Without a scheduler, root becomes the scheduler's account for everything but delete and move: new files then
    belong to it, and root's permissions follow nothing that this account may have prepared.
    Fails: QueueInUse, OSError; PrivilegeError.
    """
    client = connect_to_scheduler(site)
    if client is not None:
        return client
    alone = OfflineQueueControl(site, now)
    if os.geteuid() == 0 and not site.single_user and verb not in (wire.DELETE, wire.MOVE):
        state = os.stat(site.queue.sendmutex)
        become_user(state.st_uid, state.st_gid)
    return alone


def _original_address_of(site: "Site") -> "Callable[[bytes], bytes]":
    from eqmail_core.queue.routing import Routes

    controls = read_controls(site)
    return Routes(controls.envnoathost, virtual=controls.virtualdomains or {}).original_address
