"""When processes of this host were started, from /proc of Linux.

Fails: never; what may not be looked at, and other systems, have no answer.
Source: proc(5).
"""

import os
import time


def process_start(pid: int) -> float | None:
    """When a process was started, in seconds since the epoch; None where that is not known.

    The kernel drops the fraction of a clock tick.  It is added whole, so that what was written before the start is
    never later.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name of the program stands in parentheses and may hold anything.
            fields = file.read().rpartition(b")")[2].split()
        # More exact than the whole seconds of btime in /proc/stat.
        boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        return boot + (int(fields[19]) + 1) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
