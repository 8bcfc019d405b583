"""Homes of other qmails: which kind one is, what was chosen for it, and whether its queue may be touched.

Fails: Refusal with what is wrong and what helps; OSError where the caller may not look.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from eqmail_core.queue.admin.journal_status import read_journal_status
from eqmail_core.queue.format.journal_damage import describe_damage
from eqmail_core.queue.lock import QueueInUse, lock_scheduling
from eqmail_core.site.layout import EQMAIL_109, EQMAIL_111, NETQMAIL, Layout
from eqmail_core.site.site import Site
from eqmail_core.site.site_file import SITE_FILE
from eqmail_core.system.files import read_file
from eqmail_core.users.assign_file import END
from eqmail_core.users.database import assign_path
from eqmail_setup.errors import EqmailError, not_found, permission_required, usage_error
from eqmail_setup.installation.accounts import user_name, user_number
from eqmail_setup.installation.build_config import default_delimiter, load_site
from eqmail_setup.installation.detection import detect_installation
from eqmail_setup.installation.trust import demand_trusted

LAYOUT_NAMES = {"netqmail": NETQMAIL, "notqmail": NETQMAIL, EQMAIL_109.name: EQMAIL_109, EQMAIL_111.name: EQMAIL_111}
"""What a home may be of, by the name on the command line."""


def layout_of(kind: str) -> Layout:
    """The layout of a kind of qmail.

    Fails: Refusal (wrong usage) for an unknown name.
    """
    try:
        return LAYOUT_NAMES[kind]
    except KeyError:
        raise usage_error(f"{kind!r} is no qmail that is known here; give one of {', '.join(LAYOUT_NAMES)}") from None


def detect_source(home: str, kind: str = "") -> Site:
    """What a home shows of itself: layout, split, accounts and delimiter; `kind` may say what it is.

    Fails: Refusal where it is no home of a qmail, or not of this kind.
    """
    if not os.path.isdir(home):
        if not os.path.exists(home):
            raise not_found(home)
        raise usage_error(f"{home}: is no directory; name the home of a qmail, such as /var/qmail")
    kept = load_site(home)
    site = kept or detect_installation(home)
    if site is None:
        raise usage_error(
            f"{home}: has no queue/mess/0 and no var/queue/mess/0, so it is no home of a qmail; name its home"
        )
    if kind and layout_of(kind).name != site.layout.name:
        found = "split into numbered folders" if site.layout.split_todo else "in one piece"
        raise usage_error(
            f"{home}: of another kind than {kind}: its todo is {found} in {site.layout.queue}; leave the kind out"
        )
    if kept is None:
        site.break_char = _break_in(site) or default_delimiter(site.layout)
    return site


def _break_in(site: Site) -> bytes:
    """The delimiter that the user database shows: wildcards are made for names that end in it."""
    for line in (read_file(assign_path(site)) or b"").splitlines():
        if line.startswith(END[:1]):
            break
        name = line[1:].partition(b":")[0]
        if line.startswith(b"+") and name and not name[-1:].isalnum():
            return name[-1:]
    return b""


def demand_harmless_source(site: Site) -> None:
    """Refuse to have root read a home that others could make lead elsewhere: to files that only root may read.

    Its folders belong to root or to its accounts, which the choices that root made name; a link counts where root made
    it.  The role of root maps to root only.  Fails: Refusal.
    """
    if os.geteuid() != 0:
        return
    options = f"{site.home}/{SITE_FILE}"
    if os.path.lexists(options) and os.lstat(options).st_uid != 0:
        who = user_name(os.lstat(options).st_uid)
        raise permission_required(f"{options}: belongs to {who}, so its choices count for nothing")
    numbers = {0}
    for role, name in () if site.single_user else site.accounts.users.items():
        try:
            number = user_number(name)
        except KeyError:
            continue  # of another host: nothing here belongs to it
        numbers.add(number)
        if number == 0 and role != "owner":
            raise permission_required(f"{options}: names {name} as an account of the services, and that is root")
    demand_trusted([os.path.dirname(os.path.realpath(site.home))], "what is imported")
    for path in _read_of(site):
        _demand_theirs(path, numbers)


def _read_of(site: Site) -> Iterator[str]:
    """What is read, each after the folder that it lies in; of aliases and users, which many may own, what is on top."""
    yield site.home
    for top in (site.queue.root, site.control, site.users, site.alias):
        if os.path.lexists(top):
            between = top.removeprefix(f"{site.home}/").split("/")
            yield from (f"{site.home}/{'/'.join(between[:count])}" for count in range(1, len(between) + 1))
        for folder, names, files in os.walk(top) if top in (site.queue.root, site.control) else ():
            yield from (f"{folder}/{name}" for name in (*names, *files))


def _demand_theirs(path: str, numbers: set[int]) -> None:
    try:
        found, above = os.lstat(path), os.stat(os.path.dirname(path))
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode):
        if found.st_uid != 0 or above.st_uid != 0 or above.st_mode & 0o022:
            raise permission_required(f"{path}: is a link that {user_name(found.st_uid)} made; root does not follow it")
        found = os.stat(path)
    if stat.S_ISREG(found.st_mode) and found.st_nlink > 1 and found.st_uid == 0 and above.st_uid != 0:
        raise permission_required(
            f"{path}: root's, with a second name, in a folder of {user_name(above.st_uid)}; remove it"
        )
    if found.st_uid not in numbers:
        raise permission_required(
            f"{path}: belongs to {user_name(found.st_uid)}, neither root nor an account of this qmail; "
            "give it to root, if what lies there may be believed"
        )


def runs(site: Site) -> bool:
    """Whether a scheduler works on the queue of this home."""
    try:
        os.close(lock_scheduling(site.queue))
    except QueueInUse:
        return True
    except FileNotFoundError:
        return False
    return False


@contextmanager
def lock_source_queue(*sites: Site) -> Iterator[None]:
    """Keep the schedulers of these homes from running.

    Fails: Refusal where one runs, or has messages that are not files yet.
    """
    with ExitStack() as stack:
        for site in sites:
            try:
                stack.callback(os.close, lock_scheduling(site.queue))
            except QueueInUse:
                raise EqmailError(f"qmail-send of {site.home} is running; stop it first, then come again") from None
            except FileNotFoundError:
                continue
            journal = read_journal_status(site.queue.journal)
            for damaged in journal.damaged:
                if damaged.is_certain:
                    fact = describe_damage(damaged)[1]
                    raise EqmailError(f"{fact}; start the services of {site.home} once and stop them")
            waiting = journal.live
            if waiting:
                raise EqmailError(
                    f"{waiting} messages are only in the journal of {site.home}; start its services once and stop "
                    "them, then they are files"
                )
        yield
