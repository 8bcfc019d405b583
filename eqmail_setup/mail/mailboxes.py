"""Mailboxes: addresses of any domain with a home, a Maildir, perhaps a password, a quota and forwarding addresses.

A mailbox is one thing that lies in several files, and they change in one transaction:

    users/assign, users/cdb      =PREFIX-LOCAL, or =LOCAL in a local domain: who it belongs to and where it lies
    virtualdomains or locals     the domain; a domain that is not there yet becomes virtual with its own name as prefix
    rcpthosts                    the domain is accepted
    users/DOMAIN/LOCAL/          home, Maildir, .qmail, and in the Maildir maildirsize for the quota
    users/smtpauth               the login, which is the address

Fails: EqmailError.
Source: delivery.md 5.1, 5.3; maildir(5); the Maildir++ description of Courier.
"""

import os
from collections.abc import Iterable
from typing import NamedTuple

from eqmail_core.local.delivery.dotqmail import FORWARD, MAILDIR, parse
from eqmail_core.mailbox import maildirsize
from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError, usage_error
from eqmail_setup.installation.staging import final_path
from eqmail_setup.mail import credentials, domains, dovecot
from eqmail_setup.mail.assign_file import AssignEntry, Assignments
from eqmail_setup.mail.mailbox_files import QUOTA_FILE, owner_of, plan_folders, plan_quota_file
from eqmail_setup.mail.routing import text
from eqmail_setup.mail.users import TABLES, default_maildir, plan_assign, read_entries, within
from eqmail_setup.transaction.filesystem import Filesystem, snapshot
from eqmail_setup.transaction.operations import RemoveTree, WriteFile
from eqmail_setup.transaction.plan import Change

_DASH = "-"


class MailboxAddress(NamedTuple):
    """The parts of an address, both in lower case."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"


class Mailbox(NamedTuple):
    """One mailbox; `quota_bytes` is 0 without one, `forwards` are addresses, `keeps` whether mail is kept as well."""

    address: MailboxAddress
    entry: AssignEntry
    maildir: str
    quota_bytes: int
    used_bytes: int
    forwards: tuple[str, ...]
    keeps: bool
    has_login: bool


def parse_address(address: str) -> MailboxAddress:
    """Parse LOCAL@DOMAIN.  Fails: EqmailError (usage) for what cannot be a mailbox here."""
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain:
        raise usage_error(f"{address!r}: not an address; write LOCAL@DOMAIN, such as ann@example.net")
    if any(sign in "/@:" or sign.isspace() or not sign.isprintable() for sign in local) or local.startswith("."):
        raise usage_error(f"{address!r}: {local!r} cannot be the name of a mailbox")
    domain = text(domains.require_domain(domain, False))
    return MailboxAddress(local.lower(), domain)


def list_mailboxes(site: Site, filesystem: Filesystem, domain: str = "") -> list[Mailbox]:
    """Every mailbox, by domain and local part; only those of `domain` where one is given."""
    logins = {login.login for login in credentials.credentials_in(site, filesystem)}
    entries = [entry for entry in read_entries(site).entries() if not entry.wildcard]
    found = []
    for item in domains.domains_of(site, filesystem):
        if domain not in ("", item.name) or item.name.startswith(".") or "@" in item.name:
            continue
        prefix = _prefix(item)
        if prefix is None:
            continue
        for entry in entries:
            local = entry.local.removeprefix(prefix)
            if entry.local.startswith(prefix) and local and (prefix or not _is_of_other(entry.local, site, filesystem)):
                found.append(_read(site, filesystem, MailboxAddress(local, item.name), entry, logins))
    return sorted(found, key=lambda box: (box.address.domain, box.address.local))


def find_mailbox(site: Site, filesystem: Filesystem, address: MailboxAddress) -> Mailbox:
    """The mailbox of an address.  Fails: EqmailError if there is none."""
    for box in list_mailboxes(site, filesystem, address.domain):
        if box.address == address:
            return box
    raise EqmailError(f"{address}: no such mailbox", hint=("eqmail", "mailbox", "list", address.domain))


def plan_add(
    site: Site,
    filesystem: Filesystem,
    address: MailboxAddress,
    ids: tuple[int, int],
    secret: bytes = b"",
    quota_bytes: int = 0,
    maildir: str = "",
) -> list[Change]:
    """Actions after which there is a mailbox; files that exist stay as they are.

    Fails: EqmailError if the address belongs to another user.
    """
    item = _domain(site, filesystem, address.domain)
    found: list[Change] = []
    if item is None or item.kind == "accepted":
        prefix = address.domain
        found += domains.plan_add(site, filesystem, address.domain, prefix, False, False)
        key = f"{prefix}{_DASH}{address.local}"
    else:
        if item.kind == "remote":
            raise EqmailError(f"{address.domain}: is delivered to another host")
        if not item.accepted:
            found += domains.plan_add(site, filesystem, address.domain, item.prefix or None, False, False)
        key = (_prefix(item) or "") + address.local
        prefix = item.prefix
    home = mailbox_home(site, address)
    entry = AssignEntry(key, False, address.local, *ids, standard_home(site, address))
    assignments = read_entries(site)
    added = [entry]
    if prefix == address.domain and not _has_domain_entry(assignments, address.domain):
        added.append(domain_entry(site, address.domain, ids))
    assignments.put(added, False)
    found += plan_folders(site, filesystem, within(site, home), entry, maildir or default_maildir(site), quota_bytes)
    found += plan_assign(site, filesystem, assignments)
    folder = f"{entry.home}/{maildir or default_maildir(site)}"
    line = dovecot.user_line(str(address), ids, entry.home, folder, quota_bytes)
    found += dovecot.plan_user(site, filesystem, str(address), line)
    if secret:
        found += credentials.plan_set_credential(site, filesystem, str(address), secret)
    return found


def plan_remove(site: Site, filesystem: Filesystem, address: MailboxAddress, discard: bool) -> list[Change]:
    """Actions after which a mailbox and its login are gone; its mail stays unless `discard`."""
    box = find_mailbox(site, filesystem, address)
    assignments = read_entries(site)
    assignments.drop([box.entry.key()])
    found = list(plan_assign(site, filesystem, assignments))
    found += dovecot.plan_user(site, filesystem, str(address), b"")
    if box.has_login:
        found += credentials.plan_remove(site, filesystem, str(address))
    home = within(site, box.entry.home)
    if discard and filesystem.stat(home) is not None:
        if home != within(site, mailbox_home(site, address)):
            raise EqmailError(f"{box.entry.home}: not a home that mailbox add made; remove its mail by hand")
        found.append(Change(filesystem.display_path(home), "mail", "removed", RemoveTree(home)))
    return found


def plan_quota(site: Site, filesystem: Filesystem, address: MailboxAddress, quota_bytes: int) -> list[Change]:
    """Actions after which a mailbox takes no more than so many bytes; 0 for no limit."""
    box = find_mailbox(site, filesystem, address)
    ids, home = (box.entry.uid, box.entry.gid), box.entry.home
    line = dovecot.user_line(str(address), ids, home, box.maildir, quota_bytes)
    found = list(plan_quota_file(filesystem, within(site, box.maildir), box.entry, quota_bytes))
    return found + dovecot.plan_user(site, filesystem, str(address), line)


def plan_forward(
    site: Site, filesystem: Filesystem, address: MailboxAddress, targets: Iterable[str], keeps: bool
) -> list[Change]:
    """Actions after which mail goes on to these addresses, none for no forwarding; `keeps`: to the mailbox too.

    Fails: EqmailError if the .qmail file differs from that of a mailbox.
    """
    box = find_mailbox(site, filesystem, address)
    lines = [f"&{_require_target(target, address)}" for target in targets]
    if keeps or not lines:
        lines.append(f"./{os.path.basename(box.maildir)}/")
    path = f"{within(site, box.entry.home)}/.qmail"
    state = snapshot(path, filesystem)
    content = "".join(f"{line}\n" for line in lines).encode()
    if state is not None and state.content == content:
        return []
    if state is not None and any(kind not in (FORWARD, MAILDIR) for kind, _ in parse(state.content)):
        raise EqmailError(f"{filesystem.display_path(path)}: has other instructions; edit it by hand")
    write = WriteFile(path, content, state.permissions if state else owner_of(box.entry, 0o600))
    return [Change(filesystem.display_path(path), "other instructions", "these", write)]


def dovecot_lines(site: Site, filesystem: Filesystem) -> list[bytes]:
    """The lines of all mailboxes in the list that Dovecot reads."""
    return [
        dovecot.user_line(str(it.address), (it.entry.uid, it.entry.gid), it.entry.home, it.maildir, it.quota_bytes)
        for it in list_mailboxes(site, filesystem)
    ]


def ids_of(site: Site, ids: str, domain: str, filesystem: Filesystem) -> tuple[int, int] | None:
    """The ids that a new mailbox gets without an account of its own: those given, else those of its domain.

    None if unknown; then an account for mailboxes is looked up or created.
    """
    if site.single_user:
        return os.getuid(), os.getgid()
    if ids:
        uid, colon, gid = ids.partition(":")
        if not (colon and uid.isascii() and uid.isdigit() and gid.isascii() and gid.isdigit()) or int(uid) == 0:
            raise usage_error(f"--ids {ids}: write UID:GID, such as 1001:1001; not those of root")
        return int(uid), int(gid)
    for box in list_mailboxes(site, filesystem, domain):
        return box.entry.uid, box.entry.gid
    return None


def _domain(site: Site, filesystem: Filesystem, name: str) -> domains.Domain | None:
    return next((item for item in domains.domains_of(site, filesystem) if item.name == name), None)


def _prefix(item: domains.Domain) -> str | None:
    """What stands before a local part of this domain in users/assign; None where nothing is delivered here."""
    return {"local": "", "virtual": f"{item.prefix}{_DASH}"}.get(item.kind)


def _is_of_other(key: str, site: Site, filesystem: Filesystem) -> bool:
    """Whether an entry belongs to a mailbox of a virtual domain."""
    prefixes = [f"{item.prefix}{_DASH}" for item in domains.domains_of(site, filesystem) if item.kind == "virtual"]
    return any(key.startswith(prefix) for prefix in prefixes)


def mailbox_home(site: Site, address: MailboxAddress) -> str:
    """Where `plan_add` makes the home of a mailbox."""
    if address.domain in TABLES:
        raise usage_error(f"{site.users}/{address.domain}: cannot be the folder of a domain")
    return f"{site.users}/{address.domain}/{address.local}"


def standard_home(site: Site, address: MailboxAddress) -> str:
    """The home of a mailbox as users/assign has it."""
    return final_path(site, mailbox_home(site, address))


def domain_entry(site: Site, domain: str, ids: tuple[int, int]) -> AssignEntry:
    """The entry of all other addresses of a domain: their .qmail files lie in the folder of the domain."""
    return AssignEntry(f"{domain}{_DASH}", True, domain, *ids, final_path(site, f"{site.users}/{domain}"), _DASH)


def _has_domain_entry(assignments: Assignments, domain: str) -> bool:
    return any(entry.wildcard and entry.local == f"{domain}{_DASH}" for entry in assignments.entries())


def _read(site: Site, filesystem: Filesystem, address: MailboxAddress, entry: AssignEntry, logins: set[str]) -> Mailbox:
    home = within(site, entry.home)
    state = snapshot(f"{home}/.qmail", filesystem)
    steps = [(kind, text(argument)) for kind, argument in parse(state.content)] if state else []
    maildirs = [argument for kind, argument in steps if kind == MAILDIR]
    folder = (maildirs or [f"./{default_maildir(site)}/"])[0].removeprefix("./").rstrip("/")
    quota = snapshot(f"{home}/{folder}/{QUOTA_FILE}", filesystem)
    (most, _), (used, _) = maildirsize.parse(quota.content) if quota else ((0, 0), (0, 0))
    return Mailbox(
        address=address,
        entry=entry,
        maildir=folder if folder.startswith("/") else f"{entry.home}/{folder}",
        quota_bytes=most,
        used_bytes=max(0, used),
        forwards=tuple(argument for kind, argument in steps if kind == FORWARD),
        keeps=bool(maildirs) or not steps,
        has_login=str(address) in logins,
    )


def _require_target(target: str, address: MailboxAddress) -> str:
    local, at, domain = target.rpartition("@")
    if not (at and local and domain) or any(sign.isspace() or sign in '<>(),;"\\' for sign in target):
        raise usage_error(f"{target!r}: not an address; write LOCAL@DOMAIN")
    if target.lower() == str(address):
        raise usage_error(f"{target}: a mailbox cannot forward to itself; --keep keeps mail in it")
    return target
