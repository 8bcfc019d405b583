"""Many Maildir deliveries at once: one look at each home, one barrier for all, one set of names in new/.

The rule of a group: every copy is written to tmp/ and on the disk before any is named in new/.  What a user's files
are touched for happens under that user's identity; the barrier between is nobody's.

Where users share the process, none of them can hold up the others: what takes long by its nature is delivered apart,
and who takes longer than `BUDGET_S` in one group all the same has an agent for a while.

Whatever happens to an order, even a bug of ours, is its report.
Fails: OSError as `Barrier`; then the process must end.
Source: architecture section 7, "Maildir".
"""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from eqmail_core.formats.dotqmail import MAILDIR, plain
from eqmail_core.policy.dotqmail_plan import Delivery, delivered_to_line, return_path_line
from eqmail_core.protocols.agent_wire import AgentOrder
from eqmail_core.services.local.barrier import Barrier
from eqmail_core.services.local.delivery import LOOPING, counted
from eqmail_core.store.home import MOST_BYTES, STICKY, TooLong, enter_home, find_arrangement, foresee
from eqmail_core.store.maildir import TROUBLE, UNREADABLE, Copy, Maildir, Naming, own_naming
from eqmail_core.store.maildir_quota import CountIsDue
from eqmail_core.system.files import CHUNK
from eqmail_core.system.log import say
from eqmail_core.system.message_file import MessageFile, MessageUnreadable
from eqmail_core.system.privileges import CannotSettle
from eqmail_core.values.local_report import local_report
from eqmail_core.values.outcome import DONE, Failure, Permanent, Temporary
from eqmail_core.values.site import Site
from eqmail_core.values.user import LOOKUP_USAGE, User

# A message larger than this, in bytes, would hold up the group; it is delivered apart.
_LARGE = 4 << 20

_MOST_COPIES = 16
"""Instructions of one order that a group follows; more are followed apart."""

_MOST_OPEN = 128
"""Copies and Maildirs of one user that are open at a time; orders beyond are delivered apart."""

_SHORT_BYTES = 16384
_FEW_DASHES = 32
"""What is read of a .qmail file, and names that are tried, where users share the process."""

BUDGET_S = 1.0
"""For how long one user may hold up the others, in a group."""

NAME = "qmail-local"

SLOW_S = 600.0
"""For how long a user has an agent who has held up the others for longer."""

CANNOT_SETTLE = local_report(LOOKUP_USAGE, b"")
_UNEXPECTED = b"Unable to deliver: %b. (#4.3.0)"

Identity = Callable[[User], AbstractContextManager[object]]
"""What makes files be touched as a user.  Fails: CannotSettle when that cannot be."""


Account = tuple[int, int]
"""The ids of a user; several names, homes and extensions may have the same."""


class Result:
    """What a group has come to: reports (id, durable, text), orders that need more than a Maildir, ids now durable.

    `unanswered` are the ids of questions that are to be asked elsewhere.  Of these and of the orders to be delivered
    apart, `slow` are those whose users have taken too long.
    """

    __slots__ = ("apart", "reports", "settled", "slow", "unanswered")

    def __init__(self) -> None:
        self.reports: list[tuple[int, bool, bytes]] = []
        self.apart: list[AgentOrder] = []
        self.settled: list[int] = []
        self.unanswered: list[int] = []
        self.slow: set[int] = set()

    def refuse(self, number: int, failure: Failure) -> None:
        """Report that an order failed."""
        self.reports.append((number, True, failure.outcome + failure.text + b"\n"))


class MaildirDesk:
    """Delivers groups of orders, touching files as `identity` says.

    Where it `is_shared` by all users, orders that may take long come back in `Result.apart`, and so do those of users
    who have taken too long by `clock`.
    """

    def __init__(
        self,
        site: Site,
        default: bytes,
        identity: Identity,
        is_shared: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._site = site
        self._default = default
        self._identity = identity
        self._is_shared = is_shared
        self._clock = clock
        self._naming = own_naming()
        self._barrier = Barrier()
        self._budget = _Budget(clock, BUDGET_S if is_shared else float("inf"))

    @property
    def settle_in_s(self) -> float | None:
        """Seconds until `settle` is due; None while every report is durable."""
        return self._barrier.settle_in_s

    def settle(self) -> list[int]:
        """Put the names on the disk that are not; the ids whose reports are durable now."""
        return self._barrier.settle()

    def deliver(self, orders: list[AgentOrder]) -> Result:
        """Deliver a group; the descriptors of the orders are closed, except of those to be delivered apart."""
        result = Result()
        visits = []
        self._budget.renew()
        for mine in _by_user(orders):
            visit = _Visit(self._site, mine[0].user, self._default, self._naming, self._is_shared)
            try:
                with self._budget.of(visit.user), self._identity(visit.user):
                    visit.write(mine, result, self._budget)
            except CannotSettle:
                result.reports += [(it.number, True, CANNOT_SETTLE) for it in mine]
            else:
                visits.append(visit)
        for it in set(orders).difference(result.apart):
            if it.fd >= 0:
                os.close(it.fd)
        self._publish(visits, result)
        return result

    def foresee(self, questions: list[tuple[int, User]]) -> Result:
        """What deliveries to these users would begin their reports with."""
        result = Result()
        self._budget.renew()
        for number, user in questions:
            with self._budget.of(user):
                if self._budget.is_spent:
                    result.slow.add(number)
                    result.unanswered.append(number)
                    continue
                text = self._foresee(user)
            if text is None:
                result.unanswered.append(number)
            else:
                result.reports.append((number, True, text))
        return result

    def _foresee(self, user: User) -> bytes | None:
        """What a delivery to a user would begin its report with; None where finding that out may take long."""
        if self._is_shared and _has_many_dashes(user.ext):
            return None
        most_bytes = _SHORT_BYTES if self._is_shared else MOST_BYTES
        try:
            with self._identity(user):
                return _foreseen(user, self._default, self._site.patrn, most_bytes)
        except CannotSettle:
            return CANNOT_SETTLE

    def _publish(self, visits: list["_Visit"], result: Result) -> None:
        """Put all copies on the disk, then name them."""
        copies = [copy for visit in visits for _, mine in visit.written for copy in mine]
        trouble = None
        if copies:
            try:
                result.settled = self._barrier.sync(copies)
            except OSError:
                trouble = Temporary(TROUBLE)
        for visit in visits:
            if visit.maildirs:
                try:
                    with self._identity(visit.user):
                        visit.publish(result, trouble)
                except CannotSettle:
                    # The copies stay in tmp/, where only their owner may remove them, until they are swept.
                    visit.publish(result, Temporary(CANNOT_SETTLE[1:-1]))
            else:
                visit.publish(result, trouble)
            for number in visit.named:
                self._barrier.named(number)
            for maildir in visit.maildirs:
                self._barrier.keep(maildir)


class _Budget:
    """How much time each user may take while others wait; a user is looked after `with budget.of(user)`."""

    __slots__ = ("_account", "_clock", "_limit_s", "_since", "_slow", "_spent")

    def __init__(self, clock: Callable[[], float], limit_s: float) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._slow: dict[Account, float] = {}
        self._spent: dict[Account, float] = {}
        self._account: Account = (-1, -1)
        self._since = 0.0

    def renew(self) -> None:
        """Everybody has the whole budget again, but those who are known to be slow."""
        self._spent = {}

    def of(self, user: User) -> "_Budget":
        """The budget of a user, whom we turn to now."""
        self._account = user.uid, user.gid
        return self

    def __enter__(self) -> None:
        self._since = self._clock()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        now = self._clock()
        spent = self._spent[self._account] = self._spent.get(self._account, 0.0) + now - self._since
        if spent > self._limit_s:
            self._slow[self._account] = now + SLOW_S

    @property
    def is_spent(self) -> bool:
        """Tell whether the user must not have more time now."""
        now = self._clock()
        spent = self._spent.get(self._account, 0.0) + now - self._since
        return spent > self._limit_s or self._slow.get(self._account, now) > now


class _Visit:
    """What one group of orders finds out once at one user's: the home, instructions by extension, Maildirs by path.

    `written` are the copies by order, `named` the orders whose copies have got their names.
    """

    __slots__ = ("_copies", "_default", "_is_shared", "_known", "_naming", "_open", "_site", "named", "user", "written")

    def __init__(self, site: Site, user: User, default: bytes, naming: Naming, is_shared: bool) -> None:
        self.user = user
        self.written: list[tuple[int, list[Copy]]] = []
        self.named: list[int] = []
        self._site = site
        self._default = default
        self._naming = naming
        self._is_shared = is_shared
        self._copies = 0
        self._known: dict[bytes, list[bytes] | Failure | None] = {}
        self._open: dict[bytes, Maildir | Failure] = {}

    @property
    def maildirs(self) -> list[Maildir]:
        """The Maildirs that were opened."""
        return [found for found in self._open.values() if isinstance(found, Maildir)]

    def write(self, orders: list[AgentOrder], result: Result, budget: _Budget) -> None:
        """Write the copies of this user's orders, as far as the budget goes."""
        trouble: Failure | None = None
        try:
            if enter_home(self.user.home, self._site.patrn):
                trouble = Temporary(STICKY)
        except Failure as failure:
            trouble = failure
        for it in orders:
            if budget.is_spent:
                result.slow.add(it.number)
                result.apart.append(it)
                continue
            try:
                if trouble is not None:
                    raise trouble
                copies = self._write(it)
            except Failure as failure:
                result.refuse(it.number, failure)
            except Exception as surprise:
                result.refuse(it.number, unexpected(surprise))
            else:
                if copies is None:
                    result.apart.append(it)
                else:
                    self.written.append((it.number, copies))

    def publish(self, result: Result, trouble: Failure | None) -> None:
        """Give the copies their names, if there is no `trouble`, and report."""
        for number, mine in self.written:
            try:
                if trouble is not None and mine:
                    raise trouble
                for copy in mine:
                    copy.publish()
            except Exception as surprise:
                _drop(mine)
                result.refuse(number, surprise if isinstance(surprise, Failure) else unexpected(surprise))
                continue
            result.reports.append((number, not mine, DONE + counted([MAILDIR] * len(mine))))
            if mine:
                self.named.append(number)

    def _write(self, it: AgentOrder) -> list[Copy] | None:
        """Write the copies of one order; None if it should be delivered apart.  Fails: Temporary, Permanent."""
        try:
            message = MessageFile(it.fd)
            delivered_to = delivered_to_line(it.local + b"@" + it.host)
            if message.has_header_line(delivered_to):
                raise Permanent(LOOPING)
        except MessageUnreadable as error:
            raise Temporary(UNREADABLE) from error
        paths = self._paths(it.user.ext)
        if paths is None or (len(message.head) == CHUNK and os.fstat(it.fd).st_size > _LARGE):
            return None
        if self._copies + len(self._open) + len(paths) > _MOST_OPEN:
            return None
        head = return_path_line(it.sender) + delivered_to
        copies: list[Copy] = []
        try:
            for part, path in enumerate(paths):
                wanted = self._naming.given(it.name, part)
                copies.append(self._maildir(path).write(self._naming, wanted, head, message))
        except CountIsDue:
            _drop(copies)
            return None
        except Exception:
            _drop(copies)
            raise
        self._copies += len(copies)
        return copies

    def _paths(self, ext: bytes) -> list[bytes] | None:
        """The Maildirs for an extension; None where its instructions are not only those.  Fails: Failure."""
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
        most_bytes = _SHORT_BYTES if self._is_shared else MOST_BYTES
        if self._is_shared and _has_many_dashes(ext):
            return None
        try:
            found = find_arrangement(self.user.dash, ext, self._default, self._site.patrn, most_bytes)
        except TooLong:
            if self._is_shared:
                return None
            raise
        instructions = found.instructions
        if len(instructions) > _MOST_COPIES or any(kind != MAILDIR for kind, _ in instructions):
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


def _by_user(orders: list[AgentOrder]) -> list[list[AgentOrder]]:
    """The orders of each user, in the order in which they came."""
    found: dict[tuple[int, int, bytes, bytes], list[AgentOrder]] = {}
    for it in orders:
        found.setdefault((it.user.uid, it.user.gid, it.user.home, it.user.dash), []).append(it)
    return list(found.values())


def _foreseen(user: User, default: bytes, patrn: int, most_bytes: int) -> bytes | None:
    """As `MaildirDesk._foresee`, acting as the user."""
    try:
        foresee(user.home, user.dash, user.ext, default, patrn, most_bytes)
    except TooLong as failure:
        return None if most_bytes < MOST_BYTES else failure.outcome + failure.text
    except Exception as surprise:
        failed = surprise if isinstance(surprise, Failure) else unexpected(surprise)
        return failed.outcome + failed.text
    return DONE


def _has_many_dashes(ext: bytes) -> bool:
    """Tell whether an extension has so many .qmail files that looking for them may take long."""
    return ext.count(b"-") >= _FEW_DASHES


def unexpected(surprise: Exception) -> Temporary:
    """The failure of one order or question that nobody has thought of; the others go on."""
    say(NAME, f"alert: {type(surprise).__name__}: {surprise}")
    return Temporary(_UNEXPECTED % type(surprise).__name__.encode())


def _drop(copies: list[Copy]) -> None:
    for copy in copies:
        copy.discard()


def delivery_of(default: bytes, it: AgentOrder) -> Delivery:
    """One order as a delivery of its own."""
    user = it.user
    message = (it.host, it.sender, default, it.name, it.wishes)
    return Delivery(user.name, user.home, it.local, user.dash, user.ext, *message)
