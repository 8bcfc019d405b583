"""Many changes in few lines: those of one kind in one folder are counted, unless every line is asked for."""

import os
from collections.abc import Sequence
from typing import Literal

from eqmail_setup.transaction.operations import Description, Verb

MOST_LINES = 20
"""So many changes are listed one by one."""


def summary_lines(
    lines: Sequence[str], descriptions: Sequence[Description], mood: Literal["planned", "done"], verbose: bool
) -> list[str]:
    """The lines as they are, where they are few or all are asked for; else a line for each kind and folder."""
    if verbose or len(lines) <= MOST_LINES:
        return list(lines)
    groups: dict[tuple[Verb, str, str], list[Description]] = {}
    for item in descriptions:
        groups.setdefault((item.verb, item.what, os.path.dirname(item.path)), []).append(item)
    shown = []
    for (verb, what, folder), items in groups.items():
        if len(items) > 1:
            path, detail = f"in {folder}", ""
            items = [Description(verb, f"{len(items)} {_plural(what)}", path, detail)]
        shown.append(items[0].planned if mood == "planned" else items[0].done)
    return shown


def _plural(what: str) -> str:
    if what.endswith("directory"):
        return what.removesuffix("y") + "ies"
    return f"{what or 'file'}s" if not what.endswith(" of") else f"{what} entries"
