"""A progress bar for long operations on a terminal; nothing elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ProgressCallback = Callable[[int], None]
"""Receives the number of finished items."""


def no_progress(count: int) -> None:
    """Watch nothing."""


def on_terminal() -> bool:
    """Whether standard error is a terminal, so that a progress bar is useful."""
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
