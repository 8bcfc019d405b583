"""A moving bar on the terminal while something takes its time; nothing where nobody watches."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ProgressCallback = Callable[[int], None]
"""Hears how many things are done."""


def no_progress(count: int) -> None:
    """Watch nothing."""


def on_terminal() -> bool:
    """Whether somebody watches, so that a moving bar makes sense."""
    return sys.stderr.isatty()


@contextmanager
def progress(title: str, total: int) -> Iterator[ProgressCallback]:
    """A bar from 0 to `total` on standard error."""
    if not on_terminal():
        yield no_progress
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.update(task, completed=count)
