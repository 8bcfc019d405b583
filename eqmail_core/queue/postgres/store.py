"""All messages that this node has of a queue in PostgreSQL: the counterpart of `queue.service.message_store`.

    STORING    sent to the database; answered when the commit is certain
    OWNED      stored as this node's, and at the scheduler
    DEFERRING  its next attempt is being written, and the ownership given up
    ENDED      every recipient is done; its row is being removed

A message is answered only after its commit.  Where that is unknown the client is told to try again, and the message is
withdrawn: removed as soon as the database says what became of it.  So a message that was refused is delivered at most
if this node dies before that.

The node acts only while its lease lasts.  When the lease is over or another node took over, the scheduler drops what it
holds, and a new epoch begins with an empty hand.

Fails: never; an error of the database is an exit code of qmail-queue for a new message, and is retried for all else.
Source: docs/adr/0018-queue-on-postgresql.md.
"""

import os
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from eqmail_core.event_loop.worker_thread import Batcher, Call
from eqmail_core.ipc.admission_protocol import MAX_ENVELOPE
from eqmail_core.queue.filesystem import FileSystem
from eqmail_core.queue.format import exit_codes as q
from eqmail_core.queue.format.envelope import split_envelope
from eqmail_core.queue.postgres.database import BLOCK, NewMessage, NodeIdentity
from eqmail_core.queue.postgres.errors import CommitUnknown
from eqmail_core.queue.postgres.homes import home_of
from eqmail_core.queue.postgres.long_bodies import download, remove_all, spool_path, upload
from eqmail_core.queue.postgres.membership import Membership, MembershipEvents
from eqmail_core.queue.postgres.stored_message import Claimed, Deferral, unpack_done
from eqmail_core.queue.postgres.worker import DatabaseWorker
from eqmail_core.queue.service.accepted_message import AcceptedMessage
from eqmail_core.queue.service.message_store import Clock, SubmissionAnswer
from eqmail_core.queue.spool import clean
from eqmail_core.site.layout import QueuePaths

WRITERS = 4
GROUP = 64
CLAIM_AT_ONCE = 64
MAX_CLAIMED = 2000
"""Messages of earlier attempts that this node has at a time, at most."""

CLAIM_EVERY_S = 1.0
RETRY_S = 2.0
SWEEP_EVERY_S = 600.0

STORING, OWNED, DEFERRING, ENDED = range(4)
"""States of a message."""


class SchedulerLink(Protocol):
    """The scheduler as this store sees it."""

    def admit(self, message: "StoredMessage") -> None:
        """Pass a message to the scheduler."""

    def set_lease(self, state: bytes) -> None:
        """Say whether the lease lasts, is over for now, or was lost with all messages."""


class StoredMessage(AcceptedMessage):
    """A message that this node has; `claimed`: what earlier attempts left, None for a new one."""

    __slots__ = ("answer", "claimed")

    def __init__(
        self, number: int, birth: int, uid: int, qp: int, envelope: bytes, body: bytes | None, size: int
    ) -> None:
        super().__init__(number, birth, uid, qp, envelope, body, size)
        self.claimed: Claimed | None = None
