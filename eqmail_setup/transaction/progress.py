"""Progress of long work, as a callback: who does the work reports it, and the command line decides how it is shown."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

ProgressCallback = Callable[[int], None]
"""Is called with how many things are done."""

ProgressDisplay = Callable[[str, int], AbstractContextManager[ProgressCallback]]
"""Shows progress under a title from 0 to a total."""


def no_progress(count: int) -> None:
    """Report to no display."""


@contextmanager
def _no_display(title: str, total: int) -> Iterator[ProgressCallback]:
    yield no_progress


_display: ProgressDisplay = _no_display


def show_progress_with(display: ProgressDisplay) -> None:
    """Choose the display of all progress that follows."""
    global _display
    _display = display


def progress(title: str, total: int) -> AbstractContextManager[ProgressCallback]:
    """Report progress to the chosen display."""
    return _display(title, total)
