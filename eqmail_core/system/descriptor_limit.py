"""The limit of descriptors of this process.

Fails: never.
"""

import resource
import sys


def raise_descriptor_limit(limit: int = sys.maxsize) -> int:
    """Raise the descriptor limit as far as the system allows; return it, at most `limit`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    except (OSError, ValueError):
        pass
    return limit if soft == resource.RLIM_INFINITY else min(soft, limit)
