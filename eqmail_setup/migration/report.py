"""The report of an import: what was copied, renamed, needs review or is not supported, and what comes next.

Fails: never.
"""

from collections.abc import Sequence
from typing import NamedTuple

from eqmail_setup.errors import Severity
from eqmail_setup.transaction.plan import Change, Topic


class ReportSection(NamedTuple):
    """One part of the report, with a line for each item."""

    title: str
    lines: tuple[str, ...]

    def text(self) -> str:
        """Heading with the number of items, then the items."""
        return "\n".join([f"{self.title} ({len(self.lines)})", *(f"  {line}" for line in self.lines)])


_TITLES = {
    Topic.RENAMED: "Renamed",
    Topic.REVIEW: "Needs review",
    Topic.UNSUPPORTED: "Not supported, with what replaces it",
    Topic.UNCHANGED: "Notes",
    Topic.SOURCE: "Source",
}
_BEHIND = (Topic.RENAMED, Topic.REVIEW, Topic.UNSUPPORTED, Topic.UNCHANGED)
_INSTALLED = "directories and files of the installation"


def topic_of(change: Change) -> Topic:
    """The part that a note belongs to; without a topic of its own, advice needs review, and the rest stayed."""
    if change.topic is not None:
        return change.topic
    return Topic.UNCHANGED if change.severity is Severity.WARNING else Topic.REVIEW


def report_sections(
    installed: int, copied: Sequence[str], notes: Sequence[Change], next_steps: Sequence[str]
) -> list[ReportSection]:
    """The parts in their order, without empty ones; `installed`: how many nodes the new installation itself needs."""
    by_topic = {topic: tuple(note.line() for note in notes if topic_of(note) is topic) for topic in Topic}
    found = [
        ReportSection(_TITLES[Topic.SOURCE], by_topic[Topic.SOURCE]),
        ReportSection("Installed", (f"{installed} {_INSTALLED}",) if installed else ()),
        ReportSection("Copied", tuple(copied)),
        *(ReportSection(_TITLES[topic], by_topic[topic]) for topic in _BEHIND),
        ReportSection("Next steps", tuple(next_steps)),
    ]
    return [section for section in found if section.lines]


def report_text(sections: Sequence[ReportSection]) -> str:
    """The whole report."""
    return "\n\n".join(section.text() for section in sections) + "\n"
