"""How much memory a process may have: what it has now, and so much more.

Asking for more then raises MemoryError there, instead of slowing the whole machine down.  Programs that are started
inherit the limit, so it is lifted before.  A system that does not tell what a process has sets no limit.
"""

import os
import resource

_USED = "/proc/self/statm"


def bound_memory(more_bytes: int) -> int:
    """Bound the address space to what it is now and `more_bytes`; the limit before, for `lift_bound`.

    A lower limit stays.  Fails: never.
    """
    before, limit = resource.getrlimit(resource.RLIMIT_AS)
    try:
        with open(_USED, "rb") as file:
            wanted = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE") + more_bytes
        if before == resource.RLIM_INFINITY or wanted < before:
            resource.setrlimit(resource.RLIMIT_AS, (wanted, limit))
    except (OSError, ValueError):
        pass
    return before


def lift_bound(before: int) -> None:
    """Have the limit again that was before `bound_memory`.  Fails: never."""
    try:
        resource.setrlimit(resource.RLIMIT_AS, (before, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (OSError, ValueError):
        pass
