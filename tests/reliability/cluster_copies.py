"""Why a message arrived more than once: which fault came between its delivery and the removal from the queue.

A copy is explained when the node that delivered the first one, its link, or the database was broken in the moments
after that delivery; or the node that delivered the second one before that, because its delivery began first.  The sink
knows the node; of mailboxes any node is taken.
"""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from tests.reliability.checker import BOXES, MAILDIRS, MBOX
from tests.reliability.cluster_faults import DATABASE, Fault
from tests.reliability.load import Sent
from tests.reliability.messages import look_at
from tests.reliability.sink import BOUNCED, DELIVERED, Delivery

BEFORE_S = 2.0
"""How long a delivery, a program or a forward may have begun before it was seen."""

REMOVAL_S = 3.0
"""How long the removal of a delivered message takes, at most, while nothing is broken."""

RECOVERY_S = 30.0
"""How long a node may take to reach the database again once it is back: the answer's time-out, and a connection."""

UNEXPLAINED = "unexplained"
_FROM_LINE = re.compile(rb"^From \S* (.{24})\n(?=Return-Path: )", re.M)


def causes(
    sent: Iterable[Sent], deliveries: Iterable[Delivery], nodes: dict[str, str], people: Path, faults: list[Fault]
) -> Counter[str]:
    """Count the copies by what caused them.  `nodes`: the name of the node at an address."""
    wanted = Counter((box, it.identifier) for it in sent for address in it.recipients for box in BOXES.get(address, ()))
    found: Counter[str] = Counter()
    for address, times in _at_sink(deliveries).items():
        arrived = [(when, nodes.get(client)) for when, client in times]
        found.update(cause(address, [*pair], faults) for pair in pairwise(arrived))
    for key, moments in _in_mailboxes(people).items():
        extra = max(0, len(moments) - wanted[key])
        found.update(cause(" ".join(key), [(when, None)], faults) for when in moments[:extra])
    return found


def cause(what: str, arrived: list[tuple[float, str | None]], faults: list[Fault]) -> str:
    """What broke around the first of two deliveries, or before the second, which began before the first then.

    `arrived`: when (time.monotonic), and by which node, None: not known.  Where nothing broke it is UNEXPLAINED, with
    what arrived.
    """
    for when, node in arrived:
        for fault in faults:
            is_far = fault.target == DATABASE or "link" in fault.kind or "node c" in fault.kind
            recovery_s = RECOVERY_S if is_far else 1.0
            is_near = fault.begin < when + REMOVAL_S and when - BEFORE_S < fault.end + recovery_s
            if is_near and (fault.target == DATABASE or node in (None, fault.target)):
                return fault.kind
    return f"{UNEXPLAINED}: {what} by " + " and ".join(f"{node} at {when:.1f}" for when, node in arrived)


def _at_sink(deliveries: Iterable[Delivery]) -> dict[str, list[tuple[float, str]]]:
    """The deliveries to each address, and the refusal of one that had arrived before."""
    found: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for it in sorted(deliveries):
        if it.verdict == DELIVERED or (it.verdict == BOUNCED and found[it.address]):
            found[it.address].append((it.time, it.client))
    return found


def _in_mailboxes(people: Path) -> dict[tuple[str, str], list[float]]:
    """When each message came into each box."""
    offset = time.time() - time.monotonic()
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for box in MAILDIRS:
        for part in ("new", "cur"):
            for path in (people / box / part).iterdir():
                if seen := look_at(path.read_bytes()):
                    found[box, seen.identifier].append(path.stat().st_mtime - offset)
    mbox = people / MBOX
    pieces = _FROM_LINE.split(mbox.read_bytes())[1:] if mbox.exists() else []
    for date, data in zip(pieces[::2], pieces[1::2], strict=True):
        if seen := look_at(data):
            when = time.mktime(time.strptime(date.decode()))
            found[MBOX, seen.identifier].append(when - offset)
    return {key: sorted(times) for key, times in found.items()}
