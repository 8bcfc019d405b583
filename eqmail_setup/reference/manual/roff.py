"""Manual pages as roff, in the few macros of man(7) that every reader knows.

A text is paragraphs with an empty line between them; one that is indented is shown as it stands; words between
backquotes are bold. Nothing in a text is ever a roff command.
"""

import re
import textwrap
from collections.abc import Iterable

from eqmail_setup.installation.managed_file import PLACE

_SPECIAL = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti", '"': "\\(dq"}
_QUOTED = re.compile(r"`([^`\n]+)`")


class Page:
    """One manual page while it is written; `content` is its bytes, with the place of the seal in it."""

    def __init__(self, name: str, section: int, purpose: str) -> None:
        self.name = name
        self.section = section
        self.purpose = purpose
        self._lines = [
            '.\\" ' + PLACE.decode().rstrip("\n"),
            f'.TH "{_safe(name)}" "{section}" "" "eQmail" ""',
            ".ad l",
            ".nh",
        ]
        self.heading("NAME")
        self._lines += [f"{_safe(name)} \\- {_text(purpose)}"]

    def heading(self, title: str) -> None:
        """Begin a section."""
        self._lines += [f'.SH "{_safe(title)}"']

    def subheading(self, title: str) -> None:
        """Begin a part of a section."""
        self._lines += [f'.SS "{_safe(title)}"']

    def usage(self, words: str) -> None:
        """A line of a synopsis: the name bold, what follows as it is."""
        name, _, rest = words.partition(" ")
        self._lines += [".PP", f"\\fB{_safe(name)}\\fR {_safe(rest)}".rstrip()]

    def text(self, text: str) -> None:
        """Paragraphs and preformatted text."""
        for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
            lines = paragraph.split("\n")
            if all(line.startswith(" ") for line in lines):
                self.literal(textwrap.dedent(paragraph))
            else:
                self._lines += [".PP", *(_text(line.strip()) for line in lines)]

    def literal(self, text: str) -> None:
        """Lines that stay as they are."""
        self._lines += [".PP", ".RS 4", ".nf", *(_safe(line) for line in text.split("\n")), ".fi", ".RE"]

    def item(self, tag: str, text: str) -> None:
        """A term and what it means."""
        self._lines += [".TP", f"\\fB{_safe(tag)}\\fR", *(_text(line) for line in text.split("\n"))]

    def see_also(self, names: Iterable[str]) -> None:
        """The references of the end, such as qmail-send(8)."""
        found = sorted(set(names))
        if found:
            self.heading("SEE ALSO")
            self.text(", ".join(f"`{name.partition('(')[0]}`({name.partition('(')[2]}" for name in found))

    @property
    def path(self) -> str:
        """Where it lies below the folder of manuals."""
        return f"man{self.section}/{self.name}.{self.section}"

    @property
    def content(self) -> bytes:
        """The whole page."""
        return ("\n".join(self._lines) + "\n").encode("ascii")


def _safe(text: str) -> str:
    """Text in which nothing means anything to roff."""
    made = "".join(_SPECIAL.get(sign, sign if sign < "\x7f" else f"\\[u{ord(sign):04X}]") for sign in text)
    return f"\\&{made}" if made.startswith(".") else made


def _text(line: str) -> str:
    """A line of a paragraph, with its bold words."""
    pieces = _QUOTED.split(line)
    made = "".join(f"\\fB{_safe(piece)}\\fR" if odd % 2 else _safe(piece) for odd, piece in enumerate(pieces))
    return f"\\&{made}" if made.startswith(".") else made
