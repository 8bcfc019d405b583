"""How commands tell of what they found: one line each for people, or a list of objects as JSON."""

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

Row = TypeVar("Row")


def tell_rows(rows: Iterable[Row], as_json: bool, line: Callable[[Row], str]) -> None:
    """Tell of rows, each a NamedTuple."""
    if as_json:
        values: list[Any] = list(rows)
        click.echo(json.dumps([value._asdict() for value in values], indent=1))
        return
    for row in rows:
        click.echo(line(row))
