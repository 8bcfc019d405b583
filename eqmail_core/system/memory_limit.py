"""Limits the memory of a process: what it uses now, and a given amount more.

Beyond that, an allocation raises MemoryError instead of slowing the whole machine down.  Started programs inherit the
limit, so it must be lifted before.  On a system that does not report the memory in use, no limit is set.
"""

import os
import resource

_USED = "/proc/self/statm"


def bound_memory(more_bytes: int) -> int:
    """Limit the address space to its present size and `more_bytes`; return the old limit.

    The old limit is for `lift_bound`.  A lower limit stays.  Fails: never.
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
    """Restore the limit from before `bound_memory`.  Fails: never."""
    try:
        resource.setrlimit(resource.RLIMIT_AS, (before, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (OSError, ValueError):
        pass
