"""Types of command-line values: sizes in units, and files that exist."""

import os
from typing import Any

import click

from eqmail_setup.errors import not_found
from eqmail_setup.settings.units import parse_size


def size_value(text: str) -> int:
    """The type of a size on the command line.  Fails: click.BadParameter."""
    size = parse_size(text)
    if size is None:
        raise click.BadParameter(f"{text!r}: not a size such as 500M or 5G")
    return size


class InputFile(click.Path):
    """The type of a file that is read; one that is missing is not found, which is no wrong usage.

    Fails: EqmailError for a missing file.
    """

    def __init__(self, dash: bool = False) -> None:
        super().__init__(exists=True, dir_okay=False, readable=False, allow_dash=dash)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        if not os.path.exists(value) and not (self.allow_dash and value == "-"):
            raise not_found(os.fsdecode(value))
        return super().convert(value, param, ctx)
