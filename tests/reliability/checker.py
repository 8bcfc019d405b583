"""What became of every message and recipient: lost, torn, misdelivered, falsely bounced, delivered twice, left over."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from eqmail_core.queue.admin.journal_status import live_messages
from tests.reliability.load import ACKNOWLEDGED, ME, NOBODY, REFUSED, USER, Sent
from tests.reliability.messages import look_at
from tests.reliability.sink import BOUNCED, BROKEN_OFF, DELIVERED, Delivery, meant_for

BOXES = {
    f"{USER}@{ME}": ("Maildir",),
    f"{USER}-two@{ME}": ("Maildir", "Two"),
    f"{USER}-prog@{ME}": ("Prog",),
    f"{USER}-fwd@{ME}": ("Fwd",),
    f"{USER}-mbox@{ME}": ("Mbox",),
}
"""The mailboxes where mail for a local address must arrive."""

MAILDIRS = ("Maildir", "Two", "Prog", "Fwd")
MBOX = "Mbox"
BOUNCES = ("Bounces", "Double")
_COPY = b"--- Below this line is a copy of the message."
_MBOX_MESSAGE = re.compile(rb"^From \S* .*\n(?=Return-Path: )", re.M)


@dataclass
class Bounce:
    """A bounce that came back: the message in it, and the recipients it speaks of."""

    identifier: str
    addresses: tuple[str, ...]


@dataclass
class Mail:
    """What lies in the boxes of the user: of each box, how often it holds which message; damaged files; bounces."""

    boxes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    torn: list[str] = field(default_factory=list)
    bounces: list[Bounce] = field(default_factory=list)


@dataclass
class Findings:
    """What one run found; everything up to `troubles` must be empty for it to have passed.

    `swept`: files without a message that were removed when they were old enough.
    """

    acknowledged: int = 0
    recipients: int = 0
    lost: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    misdelivered: list[str] = field(default_factory=list)
    false_bounces: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    duplicates: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    unknown: int = 0
    refused_but_delivered: int = 0
    swept: int = 0

    WRONG = ("lost", "torn", "misdelivered", "false_bounces", "left_over", "troubles")

    @property
    def passed(self) -> bool:
        """Nothing acknowledged was lost, and nothing is where it should not be."""
        return not any(getattr(self, name) for name in self.WRONG)

    def add(self, other: "Findings") -> None:
        """Add what another run of the same part found."""
        for name, value in vars(other).items():
            if isinstance(value, Counter):
                getattr(self, name).update(value)
            else:
                setattr(self, name, getattr(self, name) + value)


def read_mail(folder: Path) -> Mail:
    """Read all boxes of the user whose home is `folder`."""
    mail = Mail()
    for box in (*MAILDIRS, *BOUNCES):
        for name, data in _files(folder / box):
            seen = look_at(data)
            if seen is None or not seen.whole:
                mail.torn.append(f"{box}/{name}: {seen.identifier if seen else 'no message'}, {len(data)} bytes")
            if box in BOUNCES:
                mail.bounces.append(_bounce(data))
            elif seen is not None:
                mail.boxes[box][seen.identifier] += 1
    mbox = folder / MBOX
    for place, data in enumerate(_MBOX_MESSAGE.split(mbox.read_bytes())[1:] if mbox.exists() else []):
        seen = look_at(data)
        if seen is None or not seen.whole:
            mail.torn.append(f"{MBOX}: message {place}")
        if seen is not None:
            mail.boxes[MBOX][seen.identifier] += 1
    return mail


def leftovers(home: Path) -> list[str]:
    """What lies in queue/ of stopped services and should not: everything but locks and an empty journal."""
    queue = home / "queue"
    found = [
        str(Path(folder, name).relative_to(queue))
        for folder, _, names in os.walk(queue)
        for name in names
        if Path(folder).name not in ("lock", "journal")
    ]
    if live := live_messages(str(queue / "journal")):
        found.append(f"{live} messages in the journal")
    return sorted(found)


def judge(sent: Iterable[Sent], mail: Mail, deliveries: Iterable[Delivery], left_over: Iterable[str] = ()) -> Findings:
    """Compare what was acknowledged with what has arrived."""
    findings = Findings(torn=list(mail.torn), left_over=list(left_over))
    known = {item.identifier: item for item in sent}
    arrived: dict[str, Counter[str]] = defaultdict(Counter)
    bounced_there: set[str] = set()
    for delivery in deliveries:
        arrived[delivery.verdict][delivery.address] += 1
        if delivery.verdict == BOUNCED:
            bounced_there.add(delivery.address)
        elif not delivery.whole and delivery.verdict == DELIVERED:
            findings.torn.append(f"sink: {delivery.address} {delivery.identifier}")
        if delivery.identifier and delivery.identifier != meant_for(delivery.address):
            findings.misdelivered.append(f"{delivery.identifier} to {delivery.address}")
    bounced = _judge_bounces(mail.bounces, known, bounced_there, findings)
    remote = arrived[DELIVERED]
    for item in known.values():
        findings.acknowledged += item.verdict == ACKNOWLEDGED
        findings.refused += item.verdict == REFUSED
        wanted: Counter[str] = Counter()
        delivered = False
        for address in item.recipients:
            boxes = BOXES.get(address, ())
            wanted.update(boxes)
            is_there = all(mail.boxes[box][item.identifier] for box in boxes) if boxes else bool(remote[address])
            delivered |= is_there
            findings.recipients += item.verdict == ACKNOWLEDGED
            if item.verdict == ACKNOWLEDGED and not is_there and (item.identifier, address) not in bounced:
                findings.lost.append(f"{item.identifier} for {address}")
        findings.refused_but_delivered += item.verdict == REFUSED and delivered
        _count_copies(item, wanted, mail, remote, findings)
    findings.unknown = len(known) - findings.acknowledged - findings.refused
    for count in bounced.values():
        findings.duplicates["bounce"] += count - 1
    for address in bounced_there:
        findings.duplicates["delivered and bounced"] += bool(remote[address])
    for box, counts in mail.boxes.items():
        findings.misdelivered += [f"{identifier} in {box}, unknown" for identifier in counts if identifier not in known]
    findings.duplicates["broken off and delivered"] = sum(1 for address in arrived[BROKEN_OFF] if remote[address])
    findings.duplicates = +findings.duplicates
    return findings


def _count_copies(item: Sent, wanted: Counter[str], mail: Mail, remote: Counter[str], findings: Findings) -> None:
    for box, counts in mail.boxes.items():
        if counts[item.identifier] and not wanted[box]:
            findings.misdelivered.append(f"{item.identifier} in {box}")
        elif counts[item.identifier] > wanted[box]:
            findings.duplicates[box] += counts[item.identifier] - wanted[box]
    for address in item.recipients:
        if remote[address] > 1:
            findings.duplicates["remote"] += remote[address] - 1


def _judge_bounces(
    bounces: list[Bounce], known: dict[str, Sent], bounced_there: set[str], findings: Findings
) -> Counter[tuple[str, str]]:
    """Count the bounces of each message and recipient; unjustified ones go to the findings."""
    counts: Counter[tuple[str, str]] = Counter()
    for bounce in bounces:
        item = known.get(bounce.identifier)
        for address in bounce.addresses:
            counts[bounce.identifier, address] += 1
            right = item is not None and address in item.recipients
            if not right or not (address == NOBODY or address in bounced_there):
                findings.false_bounces.append(f"{bounce.identifier} for {address}")
        if not bounce.addresses:
            findings.false_bounces.append(f"{bounce.identifier} for nobody")
    return counts


def _bounce(data: bytes) -> Bounce:
    output, _, copy = data.partition(_COPY)
    seen = look_at(copy)
    addresses = tuple(address.decode() for address in re.findall(rb"^<(.+)>:$", output, re.M))
    return Bounce(seen.identifier if seen else "", addresses)


def _files(maildir: Path) -> Iterable[tuple[str, bytes]]:
    for part in ("new", "cur"):
        if (maildir / part).is_dir():
            for path in sorted((maildir / part).iterdir()):
                yield f"{part}/{path.name}", path.read_bytes()
