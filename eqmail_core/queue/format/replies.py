"""What attempts got from the recipients of a message that nodes share: how many failed, when the last did, and why.

A line is TRIES LAST INDEXES REASON: for the recipients INDEXES of the envelope, such as 0,3-7, that many attempts
failed, the last at LAST, with this report.  It only informs people: nothing in the queue depends on it.

Fails: never; a line of another form is passed over.
"""

from eqmail_core.queue.format.attempts import FailedAttempts, reason_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES = 32768
"""Bytes of all lines; the recipients that were tried longest ago are left out beyond it."""

MAX_RANGE = 65536
"""Recipients that one range may have: more than any envelope that is shared."""

Replies = dict[int, FailedAttempts]
"""The failed attempts by index of the recipient."""


def render_replies(replies: "Mapping[int, FailedAttempts]") -> bytes:
    """Return the lines, one for all recipients with the same result."""
    groups: dict[FailedAttempts, list[int]] = {}
    for index, attempts in replies.items():
        groups.setdefault(attempts._replace(reason=reason_line(attempts.reason)), []).append(index)
    lines: list[bytes] = []
    left = MAX_BYTES
    for attempts in sorted(groups, key=lambda item: -item.last):
        line = b"%d %d %b %b\n" % (attempts.tries, attempts.last, _ranges(sorted(groups[attempts])), attempts.reason)
        left -= len(line)
        if left < 0:
            break
        lines.append(line)
    return b"".join(lines)


def parse_replies(text: bytes) -> Replies:
    """Return the failed attempts of each recipient."""
    found: Replies = {}
    for line in text.split(b"\n")[:-1]:
        try:
            tries, last, indexes, reason = line.split(b" ", 3)
            attempts = FailedAttempts(int(tries), int(last), reason)
            for part in indexes.split(b","):
                first, _, end = part.partition(b"-")
                span = range(int(first), int(end or first) + 1)
                if len(span) <= MAX_RANGE:
                    found.update(dict.fromkeys(span, attempts))
        except ValueError:
            continue
    return found


def _ranges(indexes: list[int]) -> bytes:
    """Render sorted numbers, runs of them as FIRST-LAST."""
    runs: list[list[int]] = []
    for index in indexes:
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return b",".join(b"%d" % first if first == last else b"%d-%d" % (first, last) for first, last in runs)
