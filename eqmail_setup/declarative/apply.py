"""From a document to the changes that make an installation so, each file once.

Mail, logs and service files that the document does not name stay; everything else of a section that is there and is not
in the document goes.

Fails: EqmailError for what cannot be, with the place in the document.
"""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from eqmail_core.control.controls import Controls
from eqmail_core.control.setting import Control
from eqmail_core.site.site import Site
from eqmail_core.text.lines import non_empty_lines
from eqmail_setup.declarative.document import MailboxSection, Setting, SiteDocument, UserSection
from eqmail_setup.declarative.dump import is_setting, is_standard, user_key
from eqmail_setup.errors import usage_error
from eqmail_setup.installation.manifest_nodes import PathKind
from eqmail_setup.mail import credentials, dovecot
from eqmail_setup.mail.aliases import alias_content, alias_permissions, aliases_in, file_of
from eqmail_setup.mail.assign_file import AssignEntry
from eqmail_setup.mail.catch_all import catch_all_of, plan_targets
from eqmail_setup.mail.domains import domains_of, require_domain
from eqmail_setup.mail.mailbox_files import owner_of, plan_folders, plan_quota_file
from eqmail_setup.mail.mailboxes import (
    MailboxAddress,
    domain_entry,
    list_mailboxes,
    mailbox_home,
    parse_address,
    standard_home,
)
from eqmail_setup.mail.users import default_maildir, plan_assign, read_entries, within
from eqmail_setup.services.control import files_of
from eqmail_setup.services.definitions import SERVICES
from eqmail_setup.services.managers import MANAGERS
from eqmail_setup.services.manifest import in_place
from eqmail_setup.services.state import InstalledServices, plan_records
from eqmail_setup.settings.editor import content_of, declaration, plan_unset, plan_write, with_lines, without_lines
from eqmail_setup.settings.units import expected_text, file_text
from eqmail_setup.transaction.filesystem import Filesystem, snapshot
from eqmail_setup.transaction.operations import CreateSymlink, RemoveFile, WriteFile
from eqmail_setup.transaction.plan import Change, compare_with_manifest


class Removals(NamedTuple):
    """What the document does not name any more: domains, mailboxes, aliases."""

    domains: tuple[str, ...]
    mailboxes: tuple[str, ...]
    aliases: tuple[str, ...]

    def text(self) -> str:
        """One line for people; "" for nothing."""
        parts = [f"{kind} {' '.join(names)}" for kind, names in self._asdict().items() if names]
        return "; ".join(parts)


def find_removals(site: Site, filesystem: Filesystem, document: SiteDocument) -> Removals:
    """What applying the document would take away from people."""

    def gone(present: list[str], wanted: dict[str, Any] | None) -> tuple[str, ...]:
        return () if wanted is None else tuple(name for name in present if name not in wanted)

    boxes = [str(box.address) for box in list_mailboxes(site, filesystem) if is_standard(site, box)]
    return Removals(
        gone([it.name for it in domains_of(site, filesystem)], document.domains),
        gone(boxes, document.mailboxes),
        gone([it.name for it in aliases_in(site, filesystem)], document.aliases),
    )


def plan_apply(site: Site, filesystem: Filesystem, document: SiteDocument) -> list[Change]:
    """Everything that makes the installation what the document says."""
    found: list[Change] = []
    if document.host:
        found += plan_write(site, filesystem, Controls.me, document.host.encode() + b"\n")
    if document.settings is not None:
        found += _settings(site, filesystem, document.settings)
    if document.domains is not None:
        found += _domains(site, filesystem, document)
        found += _catch_alls(site, filesystem, document)
    found += _mailboxes_and_users(site, filesystem, document)
    if document.aliases is not None:
        found += _aliases(site, filesystem, document.aliases)
    entries: list[InstalledServices] = []
    for service in document.services or ():
        if service.manager not in MANAGERS or set(service.services) - set(SERVICES):
            raise usage_error(f"services: {service.manager}: {' '.join(service.services)}: not known")
        entry = InstalledServices(service.manager, service.name, tuple(service.services), tuple(service.options))
        found += compare_with_manifest(in_place(files_of(site, entry), "", site, filesystem), filesystem)
        entries.append(entry)
    found += plan_records(site, filesystem, entries) if entries else []
    # Mailboxes of one domain share its folder.
    return list({item.operation or item: item for item in found}.values())


def _settings(site: Site, filesystem: Filesystem, wanted: dict[str, Setting]) -> Iterator[Change]:
    for name, value in wanted.items():
        control = declaration(name)
        if not is_setting(control):
            raise usage_error(f"settings.{name}: belongs to another section, or is a file of keys")
        content = _content(control, value)
        present = content_of(site, filesystem, control)
        if isinstance(value, list) and present is not None and non_empty_lines(present) == non_empty_lines(content):
            continue  # comments stay
        yield from plan_write(site, filesystem, control, content)
    for control in Controls.declared().values():
        if is_setting(control) and control.file not in wanted:
            yield from plan_unset(site, filesystem, control)


def _content(control: Control[Any], value: Setting) -> bytes:
    if isinstance(value, list):
        return "".join(f"{line}\n" for line in value).encode()
    if control.kind == "file":
        return str(value).encode()
    line = file_text(control, str(value).lower() if isinstance(value, bool) else str(value))
    if line is None or "\n" in line:
        raise usage_error(f"settings.{control.file}: {value!r} is not {expected_text(control)}")
    return line.encode() + b"\n"


def _domains(site: Site, filesystem: Filesystem, document: SiteDocument) -> Iterator[Change]:
    local, virtual, accepted = [], [], []
    for name, item in (document.domains or {}).items():
        domain = name.encode() if name == "" or "@" in name else require_domain(name, True)
        if item.kind == "local":
            local.append(domain)
        elif item.kind in ("virtual", "remote"):
            if (item.kind == "virtual") != bool(item.prefix):
                raise usage_error(f"domains.{name}: a virtual domain has a prefix, a remote one has none")
            virtual.append(domain + b":" + item.prefix.encode())
        if item.accepted and domain and b"@" not in domain:
            accepted.append(domain)
    yield from _list(site, filesystem, Controls.locals, local, True)
    yield from _list(site, filesystem, Controls.virtualdomains, virtual, False)
    more = {line.lower() for line in non_empty_lines(content_of(site, filesystem, Controls.morercpthosts) or b"")}
    yield from _list(site, filesystem, Controls.rcpthosts, [it for it in accepted if it not in more], True)


def _catch_alls(site: Site, filesystem: Filesystem, document: SiteDocument) -> Iterator[Change]:
    boxes = {parse_address(name).domain for name in document.mailboxes or {}}
    for name, item in (document.domains or {}).items():
        if item.catch_all and item.prefix != name:
            raise usage_error(f"domains.{name}: a catch-all is for a virtual domain with the prefix {name}")
        has_entry = name in boxes or f"{name}-*" in (document.users or {})
        if item.catch_all and not has_entry and None not in (document.mailboxes, document.users):
            raise usage_error(f"domains.{name}: a catch-all needs a mailbox of the domain, or {name}-* among the users")
        if item.catch_all or catch_all_of(site, filesystem, name):
            yield from plan_targets(site, filesystem, name, item.catch_all)


def _list(
    site: Site, filesystem: Filesystem, control: Control[Any], wanted: list[bytes], is_needed: bool
) -> list[Change]:
    """A list with these entries and no others; comments and the order of what stays are kept."""
    present = content_of(site, filesystem, control)
    if present is None and not wanted and not is_needed:
        return []
    keys = {entry.lower() for entry in wanted}
    kept = without_lines(present, lambda entry: entry.lower() not in keys)
    content = with_lines(kept, wanted)
    return [] if content == present else plan_write(site, filesystem, control, content)


def _mailboxes_and_users(site: Site, filesystem: Filesystem, document: SiteDocument) -> Iterator[Change]:
    assignments = read_entries(site)
    boxes = {str(box.address): box for box in list_mailboxes(site, filesystem) if is_standard(site, box)}
    wanted: dict[str, AssignEntry] = {}
    if document.mailboxes is not None:
        for name, section in document.mailboxes.items():
            address = parse_address(name)
            entry = _entry_of(site, document, address, section)
            wanted[user_key(entry)] = entry
            if _prefix_of(document, address) == address.domain:
                of_domain = domain_entry(site, address.domain, (entry.uid, entry.gid))
                wanted.setdefault(user_key(of_domain), of_domain)
            yield from _mailbox_files(site, filesystem, address, entry, section)
    else:
        wanted |= {user_key(box.entry): box.entry for box in boxes.values()}
    if document.users is not None:
        wanted |= {key: _user(key, section) for key, section in document.users.items()}
    known = {user_key(entry): entry for entry in assignments.entries()}
    if document.users is not None:
        assignments.drop([entry.key() for key, entry in known.items() if key not in wanted])
    elif document.mailboxes is not None:
        assignments.drop([box.entry.key() for box in boxes.values() if user_key(box.entry) not in wanted])
    if document.mailboxes is not None or document.users is not None:
        assignments.put(wanted.values(), True)
        yield from plan_assign(site, filesystem, assignments)
    yield from _logins(site, filesystem, document, set(boxes))
    if document.mailboxes is not None and filesystem.stat(f"{site.layout.users}/{dovecot.USERS}") is not None:
        yield from dovecot.plan_users(site, filesystem, _dovecot_lines(site, document))


def _dovecot_lines(site: Site, document: SiteDocument) -> Iterator[bytes]:
    for name, section in (document.mailboxes or {}).items():
        home = standard_home(site, parse_address(name))
        uid, gid = map(int, section.ids.split(":"))
        yield dovecot.user_line(name, (uid, gid), home, f"{home}/{default_maildir(site)}", section.quota)


def _prefix_of(document: SiteDocument, address: MailboxAddress) -> str:
    item = (document.domains or {}).get(address.domain)
    if item is None:
        raise usage_error(f"mailboxes.{address}: the domain is not among the domains of the document")
    if item.kind not in ("local", "virtual"):
        raise usage_error(f"mailboxes.{address}: the domain is {item.kind}, so nothing is delivered there")
    return item.prefix


def _entry_of(site: Site, document: SiteDocument, address: MailboxAddress, section: MailboxSection) -> AssignEntry:
    prefix = _prefix_of(document, address)
    uid, gid = map(int, section.ids.split(":"))
    key = f"{prefix}-{address.local}" if prefix else address.local
    return AssignEntry(key, False, address.local, uid, gid, standard_home(site, address))


def _user(key: str, section: UserSection) -> AssignEntry:
    uid, gid = map(int, section.ids.split(":"))
    local = key.removesuffix("*")
    return AssignEntry(local, key != local, section.user, uid, gid, section.home, section.dash, section.extension)


def _mailbox_files(
    site: Site, filesystem: Filesystem, address: MailboxAddress, entry: AssignEntry, section: MailboxSection
) -> Iterator[Change]:
    home, maildir = within(site, mailbox_home(site, address)), default_maildir(site)
    state = snapshot(f"{home}/.qmail", filesystem)
    if state is not None:
        kept = [line for line in state.content.splitlines() if line[:1] in b"./"]
        maildir = os.fsdecode(kept[0]).removeprefix("./").rstrip("/") if kept else maildir
    keeps = section.keep or not section.forwards
    lines = [f"&{target}" for target in section.forwards] + ([f"./{maildir}/"] if keeps else [])
    content = "".join(f"{line}\n" for line in lines).encode()
    for item in plan_folders(site, filesystem, home, entry, maildir, 0):
        if not item.path.endswith("/.qmail"):
            yield item
    if state is None or state.content != content:
        write = WriteFile(f"{home}/.qmail", content, state.permissions if state else owner_of(entry, 0o600))
        yield Change(filesystem.display_path(f"{home}/.qmail"), "other instructions", "these", write)
    yield from plan_quota_file(filesystem, f"{home}/{maildir}", entry, section.quota)


def _logins(site: Site, filesystem: Filesystem, document: SiteDocument, boxes: set[str]) -> Iterator[Change]:
    """The secrets that the document has; others stay but for those of mailboxes that go, and of a complete list."""
    wanted = {name: section.password for name, section in (document.mailboxes or {}).items() if section.password}
    wanted |= document.logins or {}
    removed = boxes - set(document.mailboxes) if document.mailboxes is not None else set()
    if document.logins is not None:
        present = {it.login for it in credentials.credentials_in(site, filesystem)}
        removed |= present - set(wanted) - set(document.mailboxes or boxes)
    secrets = {name: secret.encode("utf-8", "surrogateescape") for name, secret in wanted.items()}
    yield from credentials.plan_set_all(site, filesystem, secrets, removed)


def _aliases(site: Site, filesystem: Filesystem, wanted: dict[str, list[str] | str]) -> Iterator[Change]:
    folder = site.layout.alias
    for name, value in wanted.items():
        path = f"{folder}/{file_of(name)}"
        if isinstance(value, str):
            if filesystem.read_link(path) != file_of(value):
                link = CreateSymlink(path, file_of(value))
                yield Change(filesystem.display_path(path), "not this link", f"a link to {file_of(value)}", link)
            continue
        content = alias_content(value)
        state = snapshot(path, filesystem)
        if state is None or state.kind != PathKind.FILE or state.content != content:
            permissions = state.permissions if state and state.kind == PathKind.FILE else alias_permissions(site)
            yield Change(filesystem.display_path(path), "other lines", "these", WriteFile(path, content, permissions))
    for alias in aliases_in(site, filesystem):
        if alias.name not in wanted:
            path = f"{folder}/{file_of(alias.name)}"
            yield Change(filesystem.display_path(path), "an alias", "absent", RemoveFile(path))
