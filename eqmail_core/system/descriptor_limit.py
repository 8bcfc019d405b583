"""How many descriptors this process may have.

Fails: never.
"""

import resource


def raise_descriptor_limit(limit: int) -> int:
    """Let the process have as many descriptors as the system allows; that number, at most `most`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    except (OSError, ValueError):
        pass
    return limit if soft == resource.RLIM_INFINITY else min(soft, limit)
