"""What an installation looks like before setup touches it: a queue of another qmail, and whether mail lies in it.

Fails: OSError where the caller may not look.
"""

import fcntl
import os
from collections.abc import Iterator

from eqmail_core.site.layout import LAYOUTS, SPLIT_ALWAYS, SPLIT_IN_EQMAIL
from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError
from eqmail_setup.installation.build_config import default_delimiter


def detect_installation(home: str, root: str = "") -> Site | None:
    """What an installation of C qmail shows by its queue: layout, split, and so the likely delimiter; or None."""
    for layout in LAYOUTS.values():
        base = f"{root.rstrip('/')}{home}/{layout.queue}"
        split = _numbered(f"{base}/{SPLIT_ALWAYS[0]}")
        if split and _is_split(base) == layout.split_todo:
            return Site(home=home, layout=layout, split=split, break_char=default_delimiter(layout))
    return None


def require_safe_change(old: Site | None, new: Site, root: str = "") -> None:
    """Refuse a change of choices that would lose mail or settings.

    Split, layout and accounts decide where queued mail lies and whose it is; they may change while the queue is
    empty and not in use. The folders of settings never move.
    Fails: Refusal.
    """
    if old is None:
        return
    if (old.layout.control, old.layout.queue) != (new.layout.control, new.layout.queue):
        folder = f"{root.rstrip('/')}{old.control}"
        if _entries(folder):
            raise EqmailError(
                f"{folder}: the settings lie where the layout {old.layout.name} has them and the layout "
                f"{new.layout.name} would not look; set up another home and move them there"
            )
    changes = list(_unsafe_changes(old, new))
    if not changes:
        return
    waiting = sum(1 for _ in _queued(old, root))
    if waiting:
        raise EqmailError(
            f"{' and '.join(changes)} cannot change while {waiting} messages are in the queue; "
            "let it run empty and stop the services first"
        )
    if _in_use(f"{root.rstrip('/')}{old.queue.sendmutex}"):
        raise EqmailError(f"{' and '.join(changes)} cannot change while qmail-send runs; stop the services first")


def _unsafe_changes(old: Site, new: Site) -> Iterator[str]:
    if old.split != new.split:
        yield f"the split ({old.split} to {new.split})"
    if old.layout.name != new.layout.name:
        yield f"the layout ({old.layout.name} to {new.layout.name})"
    if (old.accounts.users, old.accounts.groups) != (new.accounts.users, new.accounts.groups):
        yield "the accounts"
    if old.queue_database != new.queue_database:
        yield "the place of the queue"
    if old.single_user != new.single_user:
        yield "the choice of a single user"


def _queued(site: Site, root: str) -> Iterator[str]:
    """Files of messages and envelopes, and journals that hold something."""
    base = f"{root.rstrip('/')}{site.home}/{site.layout.queue}"
    for name in (*SPLIT_ALWAYS, *SPLIT_IN_EQMAIL):
        for where, _, files in os.walk(f"{base}/{name}"):
            yield from (f"{where}/{file}" for file in files)


def _in_use(lock: str) -> bool:
    try:
        fd = os.open(lock, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _numbered(folder: str) -> int:
    numbers = [int(name) for name in _entries(folder) if name.isdigit()]
    return max(numbers) + 1 if numbers else 0


def _is_split(base: str) -> bool:
    return all(os.path.isdir(f"{base}/{name}/0") for name in SPLIT_IN_EQMAIL)


def _entries(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
