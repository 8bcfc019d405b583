"""Which node looks after a destination: retries, sessions and back-off of one domain meet on one node.

A destination has one of 64 homes, by a hash; each home belongs to one live node, by rendezvous hashing, so that a node
that comes or goes moves only the homes that it gains or loses.

Source: docs/adr/0018-queue-on-postgresql.md.
"""

from collections.abc import Collection
from zlib import crc32

HOMES = 64


def home_of(domain: bytes) -> int:
    """Return the home of a destination: a domain name, in any case."""
    return crc32(domain.lower()) % HOMES


def homes_of(node: int, live: Collection[int]) -> list[int]:
    """Return the homes that belong to `node` while the nodes `live`, it among them, are running."""
    return [home for home in range(HOMES) if max(live, key=lambda other: (_weight(home, other), other)) == node]


def _weight(home: int, node: int) -> int:
    """Mix both numbers well: crc32 alone is linear, and would favour some nodes."""
    mixed = (home * 0x9E3779B97F4A7C15 + node * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ (mixed >> 31)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return mixed ^ (mixed >> 29)
