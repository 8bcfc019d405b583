"""Output of findings: a line each as text, or a list of objects as JSON."""

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

Row = TypeVar("Row")

json_option = click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
"""The --json option of every command that prints rows."""


def print_rows(rows: Iterable[Row], as_json: bool, line: Callable[[Row], str], empty: str = "") -> None:
    """Print rows, each a NamedTuple; without rows, the text form prints `none` on standard error."""
    values: list[Any] = list(rows)
    if as_json:
        click.echo(json.dumps([value._asdict() for value in values], indent=1))
        return
    for row in values:
        click.echo(line(row))
    if not values and empty:
        click.echo(f"eqmail: note: {empty}", err=True)
