"""Homes of other qmails: which kind one is, what was chosen for it, and whether its queue may be touched.

Fails: Refusal with what is wrong and what helps; OSError where the caller may not look.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from eqmail_core.formats.assign import END
from eqmail_core.store.journal_look import live_messages
from eqmail_core.store.queue_repair import QueueInUse, lock_queue
from eqmail_core.store.users_db import assign_path
from eqmail_core.system.files import read_file
from eqmail_core.values.layout import EQMAIL_109, EQMAIL_111, NETQMAIL, Layout
from eqmail_core.values.site import Site
from eqmail_setup.choices import kept_site, usual_break
from eqmail_setup.refusal import Refusal, usage
from eqmail_setup.survey import found_site

KINDS = {"netqmail": NETQMAIL, "notqmail": NETQMAIL, EQMAIL_109.name: EQMAIL_109, EQMAIL_111.name: EQMAIL_111}
"""What a home may be of, by the name on the command line."""


def layout_of(kind: str) -> Layout:
    """The layout of a kind of qmail.

    Fails: Refusal (wrong usage) for a name that is none.
    """
    try:
        return KINDS[kind]
    except KeyError:
        raise usage(f"{kind!r} is no qmail that is known here; give one of {', '.join(KINDS)}") from None


def recognised(home: str, kind: str = "") -> Site:
    """What a home shows of itself: layout, split, accounts and delimiter; `kind` may say what it is.

    Fails: Refusal where it is no home of a qmail, or not of this kind.
    """
    if not os.path.isdir(home):
        raise usage(f"{home}: is no directory; name the home of a qmail, such as /var/qmail")
    kept = kept_site(home)
    site = kept or found_site(home)
    if site is None:
        raise usage(f"{home}: has no queue/mess/0 and no var/queue/mess/0, so it is no home of a qmail; name its home")
    if kind and layout_of(kind).name != site.layout.name:
        found = "split into numbered folders" if site.layout.split_todo else "in one piece"
        raise usage(
            f"{home}: of another kind than {kind}: its todo is {found} in {site.layout.queue}; leave the kind out"
        )
    if kept is None:
        site.break_char = _break_in(site) or usual_break(site.layout)
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


@contextmanager
def alone_with(*sites: Site) -> Iterator[None]:
    """Keep the schedulers of these homes from running.

    Fails: Refusal where one runs, or has messages that are not files yet.
    """
    with ExitStack() as stack:
        for site in sites:
            try:
                stack.callback(os.close, lock_queue(site.queue))
            except QueueInUse:
                raise Refusal(f"qmail-send of {site.home} is running; stop it first, then come again") from None
            except FileNotFoundError:
                continue
            waiting = live_messages(site.queue.journal)
            if waiting:
                raise Refusal(
                    f"{waiting} messages are only in the journal of {site.home}; start its services once and stop "
                    "them, then they are files"
                )
        yield
