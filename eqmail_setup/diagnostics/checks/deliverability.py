"""Whether mail for accounts, aliases and virtual domains would be delivered: asked of the code that delivers.

Homes are looked at with the rights of their users. How many are looked at is bounded, and so is the time for each.

Fails: OSError where the folder of the aliases cannot be read; ControlError.
"""

import os
import pwd
from collections.abc import Iterable, Iterator
from glob import escape, glob

from eqmail_core.outcome import TEMPORARY
from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_controls
from eqmail_core.users.user import LookupFailed, User
from eqmail_setup.diagnostics.finding import ERROR, WARNING, Finding
from eqmail_setup.mail.aliases import LINKED_TO_BOUNCE_CONFIG, POSTMASTER, ROOT, file_of
from eqmail_setup.mail.local_delivery import look_into_home, look_into_homes
from eqmail_setup.mail.routing import default_delivery, find_owner
from eqmail_setup.mail.virtual_domains import receives_mail

MAX_ACCOUNTS, MAX_ALIASES, MAX_DOMAINS = 20, 200, 100
"""How many of each are looked at."""

FIRST_PERSON_UID = 1000
"""Accounts below it belong to the system, which gets no mail of its own."""

NO_LOGIN = ("nologin", "false")
"""Shells of accounts that nobody uses."""

_PROBE = b"doctor-probe"


def check_accounts(site: Site, entries: Iterable[pwd.struct_passwd] | None = None) -> Iterator[Finding]:
    """Whether mail for the accounts of people is delivered; `entries`: the accounts of this host by default."""
    if site.single_user:
        return
    default = default_delivery(read_controls(site))
    for entry in _people(pwd.getpwall() if entries is None else entries)[:MAX_ACCOUNTS]:
        name = os.fsencode(entry.pw_name)
        try:
            _, user = find_owner(site, name)
        except LookupFailed:
            continue  # reported once, for the required aliases
        if user.name != name:
            continue
        view = look_into_home(user, default, site.patrn)
        if view.outcome == TEMPORARY.decode():
            fact = f"{os.fsdecode(user.home)}: mail for {entry.pw_name} is deferred: {view.failure}"
            yield Finding("users.deferred", WARNING, fact, ("eqmail", "explain", entry.pw_name))
        elif view.cannot_look:
            fact = f"{os.fsdecode(user.home)}: mail for {entry.pw_name}: {view.cannot_look}"
            yield Finding("users.deferred", WARNING, fact, ("eqmail", "explain", entry.pw_name))


def _people(entries: Iterable[pwd.struct_passwd]) -> list[pwd.struct_passwd]:
    return [
        entry
        for entry in entries
        if entry.pw_uid >= FIRST_PERSON_UID and os.path.basename(entry.pw_shell) not in NO_LOGIN
    ]


def check_alias_files(site: Site) -> Iterator[Finding]:
    """Whether the instructions of each alias could be followed."""
    try:
        _, owner = find_owner(site, _PROBE)
    except LookupFailed:
        return
    alias = os.fsencode(site.alias)
    if owner.home != alias:
        return
    # Those that every host must have are looked at with more words (`checks.settings.check_aliases`).
    others = {f"{site.alias}/{file_of(name)}" for name in (POSTMASTER, *LINKED_TO_BOUNCE_CONFIG, ROOT)}
    names = sorted(set(glob(f"{escape(site.alias)}/.qmail-*")) - others)[:MAX_ALIASES]
    extensions = [os.fsencode(os.path.basename(path))[len(b".qmail-") :].replace(b":", b".") for path in names]
    users = [User(owner.name, owner.uid, owner.gid, alias, b"-", extension) for extension in extensions]
    views = look_into_homes(users, default_delivery(read_controls(site)), site.patrn)
    for path, extension, view in zip(names, extensions, views, strict=False):
        if view.outcome == TEMPORARY.decode():
            explain = ("eqmail", "explain", os.fsdecode(extension))
            yield Finding("aliases.deferred", ERROR, f"{path}: mail is deferred: {view.failure}", explain)


def check_domains(site: Site) -> Iterator[Finding]:
    """Whether any address of each virtual domain can be delivered."""
    controls = read_controls(site)
    default = default_delivery(controls)
    for domain, prefix in list((controls.virtualdomains or {}).items())[:MAX_DOMAINS]:
        if prefix and not receives_mail(site, prefix, default):
            shown = os.fsdecode(domain) or "(all other domains)"
            fact = f"{site.control}/{controls.__class__.virtualdomains.file}: {shown}: mail becomes "
            fact += f"{os.fsdecode(prefix)}-LOCALPART, which no user or alias receives, so all of it bounces"
            suggestion = f"add a catch-all: eqmail alias add {os.fsdecode(prefix)}-default ADDRESS"
            yield Finding("domains.undeliverable", ERROR, fact, suggestion)
