"""When processes of this host were started, from /proc of Linux.

Fails: never; what may not be looked at, and other systems, have no answer.
Source: proc(5).
"""

import os


def process_start(pid: int) -> float | None:
    """When a process was started, in seconds since the epoch; None where that is not known."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name of the program stands in parentheses and may hold anything.
            fields = file.read().rpartition(b")")[2].split()
        with open("/proc/stat", "rb") as file:
            boot = next(int(line.split()[1]) for line in file if line.startswith(b"btime "))
        return boot + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, StopIteration):
        return None
