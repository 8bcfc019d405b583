"""What commands write: tables, notes, errors with a hint that runs when pasted, and one JSON envelope.

A terminal gets colors by severity and tables cut to its width; a pipe or a file gets plain text, whole.
"""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any, NamedTuple, TypeVar

import click

from eqmail_core.site.layout import DEFAULT_HOME
from eqmail_setup.errors import Command, Severity

Row = TypeVar("Row")

COLOR_CHOICES = ("auto", "always", "never")
_STYLES: dict[str, dict[str, Any]] = {
    "error": {"fg": "red"},
    "warning": {"fg": "yellow"},
    "info": {},
    "note": {},
    "hint": {"dim": True},
    "added": {"fg": "green"},
    "header": {"bold": True},
}
_ELLIPSIS = "…"
_GAP = "  "
_LEAST_WIDTH = 6


class _Settings:
    """How this run of the command writes; set once by the command line."""

    color: bool | None = None
    home = DEFAULT_HOME


def configure(color: str = "auto", home: str = DEFAULT_HOME) -> None:
    """Choose when colors are written, and the home that hints name where it is not the default."""
    _Settings.color = {"always": True, "never": False}.get(color, False if os.environ.get("NO_COLOR") else None)
    _Settings.home = home


def use_home(home: str) -> None:
    """Remember the home that this command works on, for hints."""
    _Settings.home = home


def styled(text: str, style: str | Severity) -> str:
    """Text in the color of a severity, or of `hint` or `header`; `echo` takes colors out where they do not belong."""
    options = _STYLES[style.value if isinstance(style, Severity) else style]
    return click.style(text, **options) if options and text else text


def echo(text: str = "", err: bool = False, nl: bool = True) -> None:
    """Write a line."""
    click.echo(text, err=err, nl=nl, color=_Settings.color)


def command_text(command: Command) -> str:
    """A command as it can be pasted, with --home where the installation is not at the default place."""
    words = list(command)
    if words[:1] == ["eqmail"] and not {"--home", "--help"} & set(words) and _Settings.home != DEFAULT_HOME:
        words[1:1] = ["--home", _Settings.home]
    return shlex.join(words)


def print_error(text: str, hint: Command = ()) -> None:
    """Write `eqmail: error: OBJECT: problem` to standard error, and the hint on a line of its own."""
    _print_message("error", text, hint)


def print_warning(text: str, hint: Command = ()) -> None:
    """Write a warning to standard error."""
    _print_message("warning", text, hint)


def print_note(text: str, hint: Command = ()) -> None:
    """Write a note to standard error."""
    _print_message("note", text, hint)


def _print_message(style: str, text: str, hint: Command) -> None:
    echo(f"eqmail: {styled(style + ':', style)} {' '.join(text.split(chr(10)))}", err=True)
    if hint:
        print_hint(hint, err=True)


def print_hint(command: Command, err: bool = False) -> None:
    """Write `hint: COMMAND`."""
    echo(styled(f"hint: {command_text(command)}", "hint"), err=err)


def print_json(schema: str, **fields: object) -> None:
    """Write the JSON envelope: the name of the schema, such as `eqmail/change-1`, then the fields."""
    echo(json.dumps({"schema": f"eqmail/{schema}", **fields}, indent=1, default=_json_value))


def _json_value(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} has no JSON form")


def hint_words(hint: Command) -> list[str]:
    """A hint as JSON has it: the words of the command."""
    return shlex.split(command_text(hint)) if hint else []


class Column(NamedTuple):
    """One column of a table. Numbers are aligned right; `fixed` ones are never cut."""

    header: str
    right: bool = False
    fixed: bool = False


def print_table(columns: Sequence[Column | str], rows: Iterable[Sequence[str]], total: str = "") -> None:
    """Write a table with a header line; it fits the terminal, and is complete without one."""
    for number, line in enumerate(table_lines(columns, rows, terminal_width())):
        echo(line if number else styled(line, "header"))
    if total:
        echo(total)


def table_lines(columns: Sequence[Column | str], rows: Iterable[Sequence[str]], width: int | None = None) -> list[str]:
    """The lines of a table, the header first; no wider than `width`, where one is given."""
    from rich.cells import cell_len

    chosen = [column if isinstance(column, Column) else Column(column) for column in columns]
    cells = [[column.header for column in chosen], *([_one_line(cell) for cell in row] for row in rows)]
    widths = [max(cell_len(row[index]) for row in cells) for index in range(len(chosen))]
    if width is not None:
        _shrink(widths, chosen, width)
    lines = []
    for row in cells:
        parts = [_padded(cell, size, column.right) for cell, size, column in zip(row, widths, chosen, strict=True)]
        lines.append(_cut(_GAP.join(parts).rstrip(), width))
    return lines


def _shrink(widths: list[int], columns: Sequence[Column], width: int) -> None:
    """Take from the widest columns until all fit; numbers and fixed columns keep theirs."""
    shrinkable = [index for index, column in enumerate(columns) if not (column.fixed or column.right)]
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    while excess > 0 and shrinkable:
        widest = max(shrinkable, key=lambda index: widths[index])
        if widths[widest] <= _LEAST_WIDTH:
            return
        widths[widest] -= 1
        excess -= 1


def _padded(cell: str, size: int, right: bool) -> str:
    from rich.cells import cell_len

    cell = _cut(cell, size)
    space = " " * (size - cell_len(cell))
    return space + cell if right else cell + space


def _cut(text: str, width: int | None) -> str:
    from rich.cells import cell_len, set_cell_size

    if width is None or cell_len(text) <= width:
        return text
    return set_cell_size(text, max(width - 1, 0)).rstrip() + _ELLIPSIS


def _one_line(text: str) -> str:
    """Text without line ends and control characters: a table is safe to show."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def terminal_width() -> int | None:
    """Columns of the terminal at standard output; None if it is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_rows(
    columns: Sequence[Column | str],
    rows: Iterable[Row],
    cells: Callable[[Row], Sequence[str]],
    as_json: bool,
    schema: str,
    empty: str = "",
    hint: Command = (),
) -> None:
    """Write rows, each a NamedTuple, as a table with their number or as JSON; without rows, the note `empty`."""
    values: list[Any] = list(rows)
    if as_json:
        print_json(f"{schema}-1", **{schema: [value._asdict() for value in values]})
    elif values:
        print_table(columns, [cells(row) for row in values], count_of(len(values), schema))
    elif empty:
        print_note(empty, hint)


def count_of(count: int, noun: str) -> str:
    """A number of things whose plural is given: 1 alias, 2 aliases, 1 domain."""
    singular = noun[:-2] if noun.endswith("ses") else noun[:-1]
    return f"{count} {singular if count == 1 else noun}"


def is_interactive() -> bool:
    """Whether the command can ask: standard input and standard error are a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str) -> bool:
    """Ask on the terminal; no is the default."""
    return click.confirm(question, err=True)
