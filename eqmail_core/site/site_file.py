"""The file in the home that stores the choices of a site: lines KEY VALUE, written by setup.

Unknown keys are ignored, so that an older program can read a newer file.
"""

from eqmail_core.site.accounts import Accounts
from eqmail_core.site.layout import EQMAIL_109, LAYOUTS
from eqmail_core.site.site import DEFAULT_BREAK, DEFAULT_PATRN, DEFAULT_SPAWN, DEFAULT_SPLIT, Site

SITE_FILE = "site"
"""Name of the file in the home."""


DIRECTORY, DATABASE_PREFIX = "directory", "postgresql:"
"""Where the queue is: in its directory, or in a database; libpq's words for it follow."""


def render_site(site: Site) -> bytes:
    """Render the choices of `site` except its home, one per line."""
    lines = (
        ("layout", site.layout.name),
        ("users", " ".join(site.accounts.users.values())),
        ("groups", " ".join(site.accounts.groups)),
        ("break", site.break_char.decode("latin-1")),
        ("split", str(site.split)),
        ("spawn", str(site.spawn)),
        ("patrn", f"{site.patrn:03o}"),
        ("single-user", "yes" if site.single_user else "no"),
        *([("queue", DATABASE_PREFIX + site.queue_database)] if site.queue_database else ()),
    )
    return "".join(f"{key} {value}".rstrip() + "\n" for key, value in lines).encode("latin-1")


def parse_site(home: str, text: bytes) -> Site:
    """Parse a site file; missing keys keep their defaults.

    Fails: ValueError for an invalid number, an unknown layout, or a wrong number of users or groups.
    """
    found = {}
    for line in text.decode("latin-1").splitlines():
        key, _, value = line.partition(" ")
        found[key] = value.strip()
    layout = found.get("layout", EQMAIL_109.name)
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}")
    default = Accounts()
    users = tuple(found["users"].split()) if "users" in found else tuple(default.users.values())
    groups = tuple(found["groups"].split()) if "groups" in found else default.groups
    if len(users) != len(default.users) or len(groups) != len(default.groups):
        raise ValueError("wrong number of users or groups")
    return Site(
        home=home,
        layout=LAYOUTS[layout],
        accounts=Accounts(users, groups),
        break_char=found["break"].encode("latin-1")[:1] if "break" in found else DEFAULT_BREAK,
        split=_number(found, "split", DEFAULT_SPLIT),
        spawn=_number(found, "spawn", DEFAULT_SPAWN),
        patrn=_number(found, "patrn", DEFAULT_PATRN, 8),
        single_user=found.get("single-user") == "yes",
        queue_database=parse_queue_place(found.get("queue", DIRECTORY)),
    )


def parse_queue_place(value: str) -> str:
    """Return how libpq connects to the queue, "" for a directory.  Fails: ValueError."""
    if value in ("", DIRECTORY):
        return ""
    if not value.startswith(DATABASE_PREFIX) or value == DATABASE_PREFIX:
        raise ValueError(f"queue is neither {DIRECTORY} nor {DATABASE_PREFIX}...: {value!r}")
    return value.removeprefix(DATABASE_PREFIX)


def _number(found: dict[str, str], key: str, default: int, base: int = 10) -> int:
    if key not in found:
        return default
    try:
        return int(found[key], base)
    except ValueError as error:
        raise ValueError(f"{key} is no number: {found[key]!r}") from error
