"""Types of command-line values that are written in units."""

import click

from eqmail_setup.settings.units import parse_size


def size_value(text: str) -> int:
    """The type of a size on the command line.  Fails: click.BadParameter."""
    size = parse_size(text)
    if size is None:
        raise click.BadParameter(f"{text!r}: not a size such as 500M or 5G")
    return size
