"""Aggregate reports of DMARC: turned on and off, composed and sent, with what came back.

Each report is a message of its own in the normal queue, where it is signed. Its envelope sender names the address that
it is for; so a bounce, which lands in a Maildir of the aliases, stops further reports to that address for a month.

Fails: EqmailError.
Source: RFC 9990.
"""

import gzip
import hashlib
import hmac
import io
import os
import re
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from eqmail_core.control.controls import Controls
from eqmail_core.control.filter_settings import PSL
from eqmail_core.dns.search import run_search_blocking
from eqmail_core.mail.envelope import Envelope
from eqmail_core.outcome import Failure
from eqmail_core.queue.client.enqueue import queue_text
from eqmail_core.reports import DMARC_DATABASE, FOLDER
from eqmail_core.reports.destinations import Destination, find_destinations
from eqmail_core.reports.dmarc_xml import report_xml
from eqmail_core.reports.report_message import Attachment, ReportLetter, render_letter
from eqmail_core.reports.store import DAY_S, ReportStore, StoreError
from eqmail_core.site.site import Site
from eqmail_core.system.files import open_regular, read_upto
from eqmail_core.system.installation import read_controls
from eqmail_setup.errors import EqmailError
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.manifest import OwnershipPolicy
from eqmail_setup.installation.manifest_nodes import PathKind
from eqmail_setup.mail.aliases import plan_add
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.operations import CreateNode, RemoveFile, WriteFile
from eqmail_setup.transaction.plan import Change

if TYPE_CHECKING:
    from eqmail_core.dns.resolver import BlockingResolver
    from eqmail_core.mail_auth.dmarc import PublicSuffix

BOUNCES = "dmarc-reports"
"""The local part that bounces of reports begin with, and the Maildir of the aliases that keeps them."""

MAX_REPORT = 10 << 20
"""Longest attachment, in bytes."""

SEARCH_S = 20.0
"""How long the questions about the addresses of one report may take, in seconds."""

MAX_BOUNCES, MAX_BOUNCE_BYTES = 1000, 65536
"""Bounces that are looked at in one run, and how much of each."""

GIVE_UP_S = 3 * DAY_S
"""How long after the end of its day a report is tried, in seconds."""

_BOUNCED = re.compile(rb"^Delivered-To: (?:\S*-)?%b-([0-9a-f]{20})@" % BOUNCES.encode(), re.M)


class SentReport(NamedTuple):
    """What became of one report: "sent", or why not."""

    day: str
    domain: str
    address: str
    result: str


def plan_on(site: Site, filesystem: Filesystem, address: str) -> list[Change]:
    """Actions after which results are counted; reports are from `address`."""
    owner = OwnershipPolicy(site, caller())
    changes = []
    maildir = f"{site.layout.alias}/{BOUNCES}"
    folders = [(FOLDER, owner("qmaild", 0o700))]
    folders += [
        (path, owner("alias", 0o700)) for path in (maildir, *(f"{maildir}/{it}" for it in ("tmp", "new", "cur")))
    ]
    for path, permissions in folders:
        if filesystem.stat(path) is None:
            node = CreateNode(path, PathKind.DIRECTORY, permissions)
            changes.append(Change(filesystem.display_path(path), "missing", "a directory", node))
    changes += plan_add(site, filesystem, f"{BOUNCES}-default", [f"./{BOUNCES}/"], True, checked=False)
    path, content = _setting(site), f"{address}\n".encode()
    if filesystem.stat(path) is None or filesystem.read(path) != content:
        changes.append(Change(filesystem.display_path(path), "", "", WriteFile(path, content, owner("owner", 0o644))))
    return changes


def plan_off(site: Site, filesystem: Filesystem) -> list[Change]:
    """Actions after which nothing is counted; what is counted stays until its reports are sent."""
    path = _setting(site)
    if filesystem.stat(path) is None:
        return []
    return [Change(filesystem.display_path(path), "on", "off", RemoveFile(path))]


def _setting(site: Site) -> str:
    return f"{site.layout.control}/{Controls.dmarcreports.file}"


def open_store(site: Site) -> ReportStore | None:
    """Open the counts; None where nothing was ever counted.  Fails: EqmailError."""
    path = f"{site.home}/{DMARC_DATABASE}"
    try:
        # As root, SQLite gives its further files to the owner of the first one, which the SMTP server has made.
        return ReportStore(path, busy_s=10) if os.path.exists(path) else None
    except (StoreError, PermissionError) as error:
        raise EqmailError(str(error)) from error


class ReportSender:
    """Composes and sends the reports of all days that are over.

    `clock()`: seconds since the epoch; `resolver` answers the questions about addresses.
    """

    def __init__(
        self, site: Site, store: ReportStore, resolver: "BlockingResolver", clock: Callable[[], float] = time.time
    ) -> None:
        controls = read_controls(site)
        self._site = site
        self._store = store
        self._resolver = resolver
        self._clock = clock
        self._host = os.fsdecode(controls.me or b"")
        self._from = os.fsdecode(controls.dmarcreports or b"") or f"postmaster@{self._host}"
        self._public_suffix: PublicSuffix | None = None
        if controls.dmarcwalk == PSL:
            from eqmail_core.dns.public_suffix import organization

            self._public_suffix = organization
        self._secret = store.secret()

    def send_due(self) -> Iterator[SentReport]:
        """Send every report that is due, and yield what became of it."""
        self.note_bounces()
        try:
            for day, domain in self._store.due(self._clock()):
                yield from self._send(day, domain)
        except StoreError as error:
            raise EqmailError(str(error)) from error

    def _send(self, day: int, domain: str) -> Iterator[SentReport]:
        results: list[tuple[str, str]] = []
        may_wait = self._clock() < (day + 1) * DAY_S + GIVE_UP_S
        is_waiting = False
        for policy, group in groupby(self._store.rows(day, domain), key=lambda row: row[0]):
            rows = [(row, count) for _, row, count in group]
            for to in self._destinations(domain, policy):
                result = to.problem or self._deliver(day, domain, policy, rows, to)
                is_waiting = is_waiting or result.startswith("waits:")
                results.append((to.address, result))
        if not (is_waiting and may_wait and not any(result == "sent" for _, result in results)):
            self._store.finish(day, domain, self._clock(), results or [("", "no address that wants it")])
        stamp = time.strftime("%Y-%m-%d", time.gmtime(day * DAY_S))
        for address, result in results:
            yield SentReport(stamp, domain, address, result)

    def _destinations(self, domain: str, policy: str) -> list[Destination]:
        import json

        uris = json.loads(policy)["rua"]
        found = run_search_blocking(self._resolver, find_destinations(domain, uris, self._public_suffix), SEARCH_S)
        suppressed = self._store.suppressed(self._clock())
        return [
            it._replace(problem=f"nothing until {_date(suppressed[it.address])}, as a report came back")
            if it.address in suppressed and not it.problem
            else it
            for it in found
        ]

    def _deliver(self, day: int, domain: str, policy: str, rows: list[tuple[str, int]], to: Destination) -> str:
        letter = self._letter(day, domain, policy, rows, to.address)
        size = len(letter.attachment.content)
        if size > min(MAX_REPORT, to.limit_bytes or MAX_REPORT):
            return f"longer than the address wants: {size} bytes"
        text = render_letter(letter, int(self._clock()))
        sender = f"{BOUNCES}-{self._tag(to.address)}@{self._host}"
        try:
            queue_text(self._site, os.environb, text, Envelope(sender.encode(), [to.address.encode()]))
        except Failure as failure:
            return f"waits: {failure.text.decode('utf-8', 'replace')}"
        return "sent"

    def _letter(self, day: int, domain: str, policy: str, rows: list[tuple[str, int]], address: str) -> ReportLetter:
        begin, end = day * DAY_S, (day + 1) * DAY_S - 1
        unique = hashlib.sha256(f"{domain} {policy} {address}".encode() + self._secret).hexdigest()[:16]
        report_id = f"{day}.{unique}"
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=end) as file:
            for piece in report_xml(self._host, self._from, report_id, begin, end, policy, rows):
                file.write(piece)
        name = f"{self._host}!{domain}!{begin}!{end}!{unique}.xml.gz"
        return ReportLetter(
            sender=self._from,
            recipient=address,
            subject=f"Report Domain: {domain} Submitter: {self._host} Report-ID: <{report_id}@{self._host}>",
            message_id=f"{report_id}@{self._host}",
            words=f"An aggregate report of DMARC about {domain}, by {self._host}, of {_date(begin)} (UTC).\n",
            attachment=Attachment(name, "application/gzip", buffer.getvalue()),
        )

    def _tag(self, address: str) -> str:
        return hmac.new(self._secret, address.encode(), hashlib.sha256).hexdigest()[:20]

    def note_bounces(self) -> None:
        """Stop reports to addresses from which one came back, and remove these bounces."""
        folder = f"{self._site.alias}/{BOUNCES}/new"
        try:
            names = sorted(os.listdir(folder))[:MAX_BOUNCES]
            sent_to = {self._tag(address): address for _, _, address, _, _ in self._store.sent() if address}
            for name in names:
                tag = _bounced_tag(f"{folder}/{name}")
                if tag in sent_to:
                    self._store.suppress(sent_to[tag], self._clock())
                os.unlink(f"{folder}/{name}")
        except FileNotFoundError:
            return
        except (StoreError, OSError) as error:
            raise EqmailError(f"{folder}: {error}") from error


def _bounced_tag(path: str) -> str:
    """Return what a bounce says of the address that it is about; "" for anything that is no bounce of a report."""
    try:
        fd = open_regular(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return ""
    if fd is None:
        return ""
    with os.fdopen(fd, "rb") as file:
        found = _BOUNCED.search(read_upto(file.fileno(), MAX_BOUNCE_BYTES))
    return found[1].decode() if found else ""


def _date(at: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))
