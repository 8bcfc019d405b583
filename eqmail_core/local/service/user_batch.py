"""One user's part of a batch of Maildir deliveries: copies are written, later named.

All copies of the batch are on the disk before any is named.  The caller switches to the identity of the user.  Where
users share the process, work that may take long is not begun.

Every problem of an order, even a bug in this program, becomes its report.  Fails: never.
Source: docs/INTERNALS.md section 6; ADR 13.
"""

import os

from eqmail_core.local.delivery.deliver import LOOPING, delivery_counts
from eqmail_core.local.delivery.dotqmail import MAILDIR, plain
from eqmail_core.local.delivery.home import (
    MAX_BYTES,
    STICKY,
    InstructionsTooLong,
    check_deliverable,
    enter_home,
    find_instructions,
)
from eqmail_core.local.delivery.request import delivered_to_line, return_path_line
from eqmail_core.local.delivery.set_aside import folder_for
from eqmail_core.local.service.protocol import AgentOrder
from eqmail_core.local.service.time_budget import TimeBudget
from eqmail_core.mailbox.maildir import UNREADABLE, Maildir, MaildirFile, MaildirNames
from eqmail_core.mailbox.maildir_quota import CountIsDue
from eqmail_core.outcome import (
    DONE,
    DURABLE,
    NOT_DURABLE,
    DeliveryResult,
    Failure,
    PermanentFailure,
    TemporaryFailure,
)
from eqmail_core.site.site import Site
from eqmail_core.system.files import CHUNK
from eqmail_core.system.message_file import MessageFile, MessageUnreadable
from eqmail_core.system.repeated_lines import say_seldom
from eqmail_core.users.user import User

NAME = "qmail-local"

# A message larger than this, in bytes, would delay the batch; it gets a subprocess.
_LARGE = 4 << 20

_MAX_COPIES = 16
"""Instructions of one order that a batch follows; an order with more gets a subprocess."""

_MAX_OPEN = 128
"""Copies and Maildirs of one user that are open at a time; orders beyond that get subprocesses."""

SHORT_BYTES = 16384
_FEW_DASHES = 32
"""Bytes read of a .qmail file, and dashes in an extension, where users share the process."""

_UNEXPECTED = b"Unable to deliver: %b. (#4.3.0)"


class BatchResult:
    """The result of a batch: reports (id and result), orders for subprocesses, durable ids.

    `unanswered` are the ids of questions to ask elsewhere.  `slow` are the ids, among these and among the orders for
    subprocesses, whose users have taken too long.
    """

    __slots__ = ("durable", "needs_subprocess", "reports", "slow", "unanswered")

    def __init__(self) -> None:
        self.reports: list[tuple[int, DeliveryResult]] = []
        self.needs_subprocess: list[AgentOrder] = []
        self.durable: list[int] = []
        self.unanswered: list[int] = []
        self.slow: set[int] = set()

    def refuse(self, number: int, failure: Failure) -> None:
        """Report that an order failed."""
        self.reports.append((number, DeliveryResult(failure.outcome, failure.text + b"\n")))


class UserBatch:
    """What a batch finds out once per user: home, instructions by extension, Maildirs by path.

    `written` are the copies by order, `named` the orders whose copies have got their names.
    """

    __slots__ = ("_copies", "_default", "_is_shared", "_known", "_names", "_open", "_site", "named", "user", "written")

    def __init__(self, site: Site, user: User, default: bytes, names: MaildirNames, is_shared: bool) -> None:
        self.user = user
        self.written: list[tuple[int, list[MaildirFile]]] = []
        self.named: list[int] = []
        self._site = site
        self._default = default
        self._names = names
        self._is_shared = is_shared
        self._copies = 0
        self._known: dict[bytes, list[bytes] | Failure | None] = {}
        self._open: dict[bytes, Maildir | Failure] = {}

    @property
    def maildirs(self) -> list[Maildir]:
        """The Maildirs that were opened."""
        return [found for found in self._open.values() if isinstance(found, Maildir)]

    def write(self, orders: list[AgentOrder], result: BatchResult, budget: TimeBudget) -> None:
        """Write the copies of this user's orders, as far as the budget allows."""
        problem: Failure | None = None
        try:
            if enter_home(self.user.home, self._site.patrn):
                problem = TemporaryFailure(STICKY)
        except Failure as failure:
            problem = failure
        for request in orders:
            if budget.is_spent:
                result.slow.add(request.number)
                result.needs_subprocess.append(request)
                continue
            try:
                if problem is not None:
                    raise problem
                copies = self._write(request)
            except Failure as failure:
                result.refuse(request.number, failure)
            except Exception as error:
                result.refuse(request.number, unexpected(error))
            else:
                if copies is None:
                    result.needs_subprocess.append(request)
                else:
                    self.written.append((request.number, copies))

    def publish(self, result: BatchResult, problem: Failure | None) -> None:
        """Give the copies their names, unless there is a `problem`, and report."""
        for number, mine in self.written:
            try:
                if problem is not None and mine:
                    raise problem
                for copy in mine:
                    copy.publish()
            except Exception as error:
                _drop(mine)
                result.refuse(number, error if isinstance(error, Failure) else unexpected(error))
                continue
            disposition = NOT_DURABLE if mine else DURABLE
            text = delivery_counts([MAILDIR] * len(mine))
            result.reports.append((number, DeliveryResult(DONE, text, disposition)))
            if mine:
                self.named.append(number)

    def _write(self, request: AgentOrder) -> list[MaildirFile] | None:
        """Write the copies of one order; None if it needs a subprocess.

        Fails: TemporaryFailure, PermanentFailure.
        """
        try:
            message = MessageFile(request.fd)
            delivered_to = delivered_to_line(request.local + b"@" + request.host)
            if message.has_header_line(delivered_to):
                raise PermanentFailure(LOOPING)
        except MessageUnreadable as error:
            raise TemporaryFailure(UNREADABLE) from error
        paths = self._paths(request.user.ext)
        if paths is None or (len(message.head) == CHUNK and os.fstat(request.fd).st_size > _LARGE):
            return None
        if self._copies + len(self._open) + len(paths) > _MAX_OPEN:
            return None
        head = return_path_line(request.sender) + delivered_to
        copies: list[MaildirFile] = []
        try:
            for part, path in enumerate(paths):
                wanted = self._names.name_for(request.name, part)
                place = folder_for(self._site, path, message)
                copies.append(self._maildir(place).write(self._names, wanted, head, message))
        except CountIsDue:
            _drop(copies)
            return None
        except Exception:
            _drop(copies)
            raise
        self._copies += len(copies)
        return copies

    def _paths(self, ext: bytes) -> list[bytes] | None:
        """The Maildirs for an extension; None if it has other instructions too.  Fails: Failure."""
        if ext not in self._known:
            try:
                self._known[ext] = self._look_up(ext)
            except Failure as failure:
                self._known[ext] = failure
        found = self._known[ext]
        if isinstance(found, Failure):
            raise found
        return found

    def _look_up(self, ext: bytes) -> list[bytes] | None:
        limit_bytes = SHORT_BYTES if self._is_shared else MAX_BYTES
        if self._is_shared and has_many_dashes(ext):
            return None
        try:
            found = find_instructions(self.user.dash, ext, self._default, self._site.patrn, limit_bytes)
        except InstructionsTooLong:
            if self._is_shared:
                return None
            raise
        instructions = found.instructions
        if len(instructions) > _MAX_COPIES or any(kind != MAILDIR for kind, _ in instructions):
            return None
        return [plain(path) for _, path in instructions]

    def _maildir(self, path: bytes) -> Maildir:
        found = self._open.get(path)
        if found is None:
            try:
                found = Maildir(path, may_count=not self._is_shared)
            except Failure as failure:
                found = failure
            self._open[path] = found
        if isinstance(found, Failure):
            raise found
        return found


def predicted_result(user: User, default: bytes, patrn: int, limit_bytes: int) -> DeliveryResult | None:
    """Predict the result of a delivery to a user; the process acts as that user.

    None if the .qmail file has more than `limit_bytes`, and another process may read more of it.
    """
    try:
        check_deliverable(user.home, user.dash, user.ext, default, patrn, limit_bytes)
    except InstructionsTooLong as failure:
        return None if limit_bytes < MAX_BYTES else DeliveryResult(failure.outcome, failure.text)
    except Exception as error:
        failed = error if isinstance(error, Failure) else unexpected(error)
        return DeliveryResult(failed.outcome, failed.text)
    return DeliveryResult(DONE, b"")


def has_many_dashes(ext: bytes) -> bool:
    """Tell whether an extension has so many candidate files that the search may take long."""
    return ext.count(b"-") >= _FEW_DASHES


def unexpected(error: Exception) -> TemporaryFailure:
    """Log an unexpected error and return it as the failure of one order; the others go on."""
    say_seldom(NAME, f"alert: {type(error).__name__}: {error}")
    return TemporaryFailure(_UNEXPECTED % type(error).__name__.encode())


def _drop(copies: list[MaildirFile]) -> None:
    for copy in copies:
        copy.discard()
