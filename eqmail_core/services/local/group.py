"""Many Maildir deliveries of one user at once: one look at the home, one barrier, one set of names in new/.

The rule of a group: every copy is written to tmp/ and on the disk before any is named in new/.  The names are on the
disk after the next group's barrier, or after `settle`; until then the reports say so.

Whatever happens to an order is its report.  Fails: OSError when names cannot be put on the disk; the process must
end then, so that the spawner learns that these reports are in doubt.
Source: architecture section 7, "Maildir".
"""

import os
import time

from eqmail_core.formats.dotqmail import MAILDIR, plain
from eqmail_core.policy.dotqmail_plan import Delivery, delivered_to_line, return_path_line
from eqmail_core.protocols.agent_wire import AgentOrder
from eqmail_core.services.local.delivery import LOOPING, counted
from eqmail_core.store.home import STICKY, enter_home, find_arrangement
from eqmail_core.store.maildir import TROUBLE, UNREADABLE, Copy, Maildir, Naming, own_naming
from eqmail_core.system.files import CHUNK
from eqmail_core.system.kernel import sync_file_system
from eqmail_core.system.message_file import MessageFile, MessageUnreadable
from eqmail_core.values.outcome import DONE, Failure, Permanent, Temporary
from eqmail_core.values.site import Site
from eqmail_core.values.user import User

# A message larger than this, in bytes, would hold up the group; it is delivered apart.
_LARGE = 4 << 20

# Up to so many copies are synced one by one; a barrier over the whole file system costs more than that.
_FEW = 2

# How long names may wait for a barrier that comes anyway, and how many.  The journal keeps the messages meanwhile, so
# this costs memory and no safety; a flush of their own per message would double the flushes of a trickle of mail.
_LINGER_S = 0.25
_LINGERING = 512


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
    """Delivers groups of orders for one user."""

    def __init__(self, site: Site, user: User, default: bytes) -> None:
        self._site = site
        self._user = user
        self._default = default
        self._naming = own_naming()
        self._unsettled: list[int] = []
        self._unsynced: dict[tuple[int, int], Maildir] = {}
        self._settle_at = 0.0

    @property
    def settle_in_s(self) -> float | None:
        """Seconds until `settle` is due; None while every report is durable."""
        if not self._unsettled:
            return None
        return max(0.0, self._settle_at - time.monotonic()) if len(self._unsettled) < _LINGERING else 0.0

    def deliver(self, orders: list[AgentOrder]) -> Result:
        """Deliver a group; the descriptors of the orders are closed, except of those to be delivered apart."""
        result = Result()
        group = _Group(self._site, self._user, self._default, self._naming)
        written: list[tuple[int, list[Copy]]] = []
        for it in orders:
            try:
                copies = group.write(it)
            except Failure as failure:
                result.refuse(it.number, failure)
            else:
                if copies is None:
                    result.apart.append(it)
                    continue
                written.append((it.number, copies))
            if it.fd >= 0:
                os.close(it.fd)
        self._publish(written, group.maildirs(), result)
        return result

    def settle(self) -> list[int]:
        """Put the names on the disk that are not; the ids whose reports are durable now."""
        for maildir in self._unsynced.values():
            maildir.sync()
        return self._all_settled()

    def _publish(self, written: list[tuple[int, list[Copy]]], maildirs: list[Maildir], result: Result) -> None:
        copies = [copy for _, mine in written for copy in mine]
        if copies:
            try:
                result.settled = self._barrier(copies, maildirs)
            except OSError:
                for number, mine in written:
                    _drop(mine)
                    result.refuse(number, Temporary(TROUBLE))
                written = []
        for number, mine in written:
            try:
                for copy in mine:
                    copy.publish()
            except Temporary as failure:
                _drop(mine)
                result.refuse(number, failure)
                continue
            result.reports.append((number, not mine, DONE + counted([MAILDIR] * len(mine))))
            if mine:
                if not self._unsettled:
                    self._settle_at = time.monotonic() + _LINGER_S
                self._unsettled.append(number)
        for maildir in maildirs:
            if self._unsynced.setdefault(maildir.identity(), maildir) is not maildir:
                maildir.close()

    def _barrier(self, copies: list[Copy], maildirs: list[Maildir]) -> list[int]:
        """Put the copies of this group and the names of earlier ones on the disk; the ids now durable."""
        if len(copies) <= _FEW:
            for copy in copies:
                copy.sync()
            return []
        disks = {maildir.identity()[0]: maildir.new for maildir in maildirs}
        for fd in disks.values():
            sync_file_system(fd)
        for (disk, _), maildir in self._unsynced.items():
            if disk not in disks:
                maildir.sync()
        return self._all_settled()

    def _all_settled(self) -> list[int]:
        for maildir in self._unsynced.values():
            maildir.close()
        settled, self._unsynced, self._unsettled = self._unsettled, {}, []
        return settled


class _Group:
    """What one group of orders finds out once: the home, instructions by extension, Maildirs by path."""

    __slots__ = ("_default", "_home_trouble", "_known", "_naming", "_open", "_site", "_user")

    def __init__(self, site: Site, user: User, default: bytes, naming: Naming) -> None:
        self._site = site
        self._user = user
        self._default = default
        self._naming = naming
        self._known: dict[bytes, list[bytes] | Failure | None] = {}
        self._open: dict[bytes, Maildir | Failure] = {}
        self._home_trouble: Failure | None = None
        try:
            if enter_home(user.home, site.patrn):
                self._home_trouble = Temporary(STICKY)
        except Failure as failure:
            self._home_trouble = failure

    def maildirs(self) -> list[Maildir]:
        """The Maildirs that were opened."""
        return [found for found in self._open.values() if isinstance(found, Maildir)]

    def write(self, it: AgentOrder) -> list[Copy] | None:
        """Write the copies of one order; None if it should be delivered apart.  Fails: Temporary, Permanent."""
        if self._home_trouble is not None:
            raise self._home_trouble
        try:
            message = MessageFile(it.fd)
            delivered_to = delivered_to_line(it.local + b"@" + it.host)
            if message.has_header_line(delivered_to):
                raise Permanent(LOOPING)
        except MessageUnreadable as error:
            raise Temporary(UNREADABLE) from error
        paths = self._paths(it.ext)
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
        instructions = find_arrangement(self._user.dash, ext, self._default, self._site.patrn).instructions
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


def _drop(copies: list[Copy]) -> None:
    for copy in copies:
        copy.discard()


def delivery_of(user: User, default: bytes, it: AgentOrder) -> Delivery:
    """One order as a delivery of its own."""
    return Delivery(user.name, user.home, it.local, user.dash, it.ext, it.host, it.sender, default, it.name)
