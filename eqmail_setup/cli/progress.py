"""A progress bar on the terminal during long work; nothing where standard error is no terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from eqmail_setup.transaction.progress import ProgressCallback, no_progress


def on_terminal() -> bool:
    """Whether a progress bar can be seen."""
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
