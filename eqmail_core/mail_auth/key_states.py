"""The states of the keys of one domain: a line SELECTOR STATE SINCE for each, SINCE in seconds since the epoch.

    new         made; does not sign, because its record may not be in the DNS yet
    active      signs
    retiring    signs no more; its record stays until mail that it signed has arrived

Fails: ValueError for a line of another form.
"""

from typing import NamedTuple

NEW, ACTIVE, RETIRING = b"new", b"active", b"retiring"
STATES = (NEW, ACTIVE, RETIRING)

STATES_FILE = "states"
"""The file in the folder of a domain; without it every key there is active."""


class KeyState(NamedTuple):
    """One key: its selector, its state, and since when (seconds since the epoch)."""

    selector: bytes
    state: bytes
    since: int


def parse_states(text: bytes) -> list[KeyState]:
    """Read the lines; empty ones and comments do not count."""
    found = []
    for line in text.split(b"\n"):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        if len(words) != 3 or words[1] not in STATES or not words[2].isdigit():
            raise ValueError(f"not SELECTOR STATE SINCE: {line[:80].decode('latin-1')}")
        found.append(KeyState(words[0], words[1], int(words[2])))
    return found


def render_states(states: list[KeyState]) -> bytes:
    """Write the lines."""
    return b"".join(b"%b %b %d\n" % state for state in states)


def signing_selectors(states: list[KeyState]) -> list[bytes]:
    """Return the selectors that sign."""
    return [key.selector for key in states if key.state == ACTIVE]
