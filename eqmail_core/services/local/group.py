"""Many Maildir deliveries at once: one look at each home, one barrier for all, one set of names in new/.

The rule of a group: every copy is written to tmp/ and on the disk before any is named in new/.  What a user's files
are touched for happens under that user's identity; the barrier between is nobody's.

Whatever happens to an order is its report.  Fails: OSError as `Barrier`; then the process must end.
Source: architecture section 7, "Maildir".
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager

from eqmail_core.formats.dotqmail import MAILDIR, plain
from eqmail_core.policy.dotqmail_plan import Delivery, delivered_to_line, return_path_line
from eqmail_core.protocols.agent_wire import AgentOrder
from eqmail_core.services.local.barrier import Barrier
from eqmail_core.services.local.delivery import LOOPING, counted
from eqmail_core.store.home import STICKY, enter_home, find_arrangement, foresee
from eqmail_core.store.maildir import TROUBLE, UNREADABLE, Copy, Maildir, Naming, own_naming
from eqmail_core.system.files import CHUNK
from eqmail_core.system.message_file import MessageFile, MessageUnreadable
from eqmail_core.system.privileges import CannotSettle
from eqmail_core.values.local_report import local_report
from eqmail_core.values.outcome import DONE, Failure, Permanent, Temporary
from eqmail_core.values.site import Site
from eqmail_core.values.user import LOOKUP_USAGE, User

# A message larger than this, in bytes, would hold up the group; it is delivered apart.
_LARGE = 4 << 20

Identity = Callable[[User], AbstractContextManager[object]]
"""What makes files be touched as a user.  Fails: CannotSettle when that cannot be."""


class Result:
    """What a group has come to: reports (id, durable, text), orders that need more than a Maildir, ids now durable."""

    __slots__ = ("apart", "reports", "settled")

    def __init__(self) -> None:
        self.reports: list[tuple[int, bool, bytes]] = []
        self.apart: list[AgentOrder] = []
        self.settled: list[int] = []

    def refuse(self, number: int, failure: Failure) -> None:
        """Report that an order failed."""
        self.reports.append((number, True, failure.outcome + failure.text + b"\n"))


class MaildirDesk:
    """Delivers groups of orders, touching files as `identity` says."""

    def __init__(self, site: Site, default: bytes, identity: Identity) -> None:
        self._site = site
        self._default = default
        self._identity = identity
        self._naming = own_naming()
        self._barrier = Barrier()

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
        for mine in _by_user(orders):
            visit = _Visit(self._site, mine[0].user, self._default, self._naming)
            try:
                with self._identity(visit.user):
                    visit.write(mine, result)
            except CannotSettle:
                text = local_report(LOOKUP_USAGE, b"")
                result.reports += [(it.number, True, text) for it in mine]
            else:
                visits.append(visit)
        for it in set(orders).difference(result.apart):
            if it.fd >= 0:
                os.close(it.fd)
        self._publish(visits, result)
        return result

    def foresee(self, user: User) -> bytes:
        """What a delivery to a user would begin its report with."""
        try:
            with self._identity(user):
                foresee(user.home, user.dash, user.ext, self._default, self._site.patrn)
        except CannotSettle:
            return local_report(LOOKUP_USAGE, b"")
        except Failure as failure:
            return failure.outcome + failure.text
        return DONE

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
                with self._identity(visit.user):
                    visit.publish(result, trouble)
            else:
                visit.publish(result, trouble)
            for number in visit.named:
                self._barrier.named(number)
            for maildir in visit.maildirs:
                self._barrier.keep(maildir)


class _Visit:
    """What one group of orders finds out once at one user's: the home, instructions by extension, Maildirs by path.

    `written` are the copies by order, `named` the orders whose copies have got their names.
    """

    __slots__ = ("_default", "_known", "_naming", "_open", "_site", "named", "user", "written")

    def __init__(self, site: Site, user: User, default: bytes, naming: Naming) -> None:
        self.user = user
        self.written: list[tuple[int, list[Copy]]] = []
        self.named: list[int] = []
        self._site = site
        self._default = default
        self._naming = naming
        self._known: dict[bytes, list[bytes] | Failure | None] = {}
        self._open: dict[bytes, Maildir | Failure] = {}

    @property
    def maildirs(self) -> list[Maildir]:
        """The Maildirs that were opened."""
        return [found for found in self._open.values() if isinstance(found, Maildir)]

    def write(self, orders: list[AgentOrder], result: Result) -> None:
        """Write the copies of this user's orders."""
        trouble: Failure | None = None
        try:
            if enter_home(self.user.home, self._site.patrn):
                trouble = Temporary(STICKY)
        except Failure as failure:
            trouble = failure
        for it in orders:
            try:
                if trouble is not None:
                    raise trouble
                copies = self._write(it)
            except Failure as failure:
                result.refuse(it.number, failure)
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
            except Failure as failure:
                _drop(mine)
                result.refuse(number, failure)
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
        head = return_path_line(it.sender) + delivered_to
        copies: list[Copy] = []
        try:
            for part, path in enumerate(paths):
                wanted = self._naming.given(it.name, part)
                copies.append(self._maildir(path).write(self._naming, wanted, head, message))
        except Failure:
            _drop(copies)
            raise
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
        instructions = find_arrangement(self.user.dash, ext, self._default, self._site.patrn).instructions
        if any(kind != MAILDIR for kind, _ in instructions):
            return None
        return [plain(path) for _, path in instructions]

    def _maildir(self, path: bytes) -> Maildir:
        found = self._open.get(path)
        if found is None:
            try:
                found = Maildir(path)
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


def _drop(copies: list[Copy]) -> None:
    for copy in copies:
        copy.discard()


def delivery_of(default: bytes, it: AgentOrder) -> Delivery:
    """One order as a delivery of its own."""
    user = it.user
    message = (it.host, it.sender, default, it.name, it.wishes)
    return Delivery(user.name, user.home, it.local, user.dash, user.ext, *message)
