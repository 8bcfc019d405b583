"""What a part prints: a table of its findings, or JSON."""

import json
from dataclasses import dataclass, field

from tests.reliability.checker import Findings

SHOWN = 4
_COLUMNS = {
    "acknowledged": "acknowledged",
    "recipients": "recipients",
    "lost": "lost",
    "torn": "torn",
    "misdelivered": "misdelivered",
    "false_bounces": "false bounces",
    "left_over": "left over",
    "swept": "swept",
    "troubles": "troubles",
}


@dataclass
class Row:
    """One line of the table: what was done (`figures`: word, value), and what was found."""

    name: str
    findings: Findings
    figures: dict[str, int] = field(default_factory=dict)

    def add(self, other: "Row") -> None:
        """Add another round of the same."""
        self.findings.add(other.findings)
        for word, figure in other.figures.items():
            self.figures[word] = self.figures.get(word, 0) + figure

    def cells(self) -> list[str]:
        """The cells of its line: words and counts."""
        found = self.findings
        counts = [value if isinstance(value := getattr(found, name), int) else len(value) for name in _COLUMNS]
        twice = ", ".join(f"{kind} {count}" for kind, count in sorted(found.duplicates.items()))
        return [self.name, *map(str, self.figures.values()), *map(str, counts), twice or "0"]


@dataclass
class Report:
    """All lines of a part."""

    part: str
    seed: int
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every line passed."""
        return all(row.findings.passed for row in self.rows)

    def table(self) -> str:
        """The lines, their sum where there are several, and below them what was wrong."""
        lines = [[self.part, *(self.rows[0].figures if self.rows else ()), *_COLUMNS.values(), "duplicates"]]
        lines += [row.cells() for row in self.rows]
        if len(self.rows) > 1:
            total = Row("total", Findings())
            for row in self.rows:
                total.add(row)
            lines.append(total.cells())
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        for row in self.rows:
            for name in Findings.WRONG:
                wrong = getattr(row.findings, name)
                text += [f"{row.name}: {_COLUMNS[name]}: {item}" for item in wrong[:SHOWN]]
                text += [f"{row.name}: {_COLUMNS[name]}: ... {len(wrong) - SHOWN} more"] * (len(wrong) > SHOWN)
        return "\n".join([*text, *self.notes, f"{'passed' if self.passed else 'FAILED'}, seed {self.seed}"])

    def json(self) -> str:
        """The same for programs."""
        rows = [{"name": row.name, **row.figures, **vars(row.findings)} for row in self.rows]
        return json.dumps(
            {"part": self.part, "seed": self.seed, "passed": self.passed, "rows": rows, "notes": self.notes},
            default=str,
        )
