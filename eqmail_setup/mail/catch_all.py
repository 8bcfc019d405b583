"""The addresses of a domain that have no mailbox: all of them go to the same targets.

The domain is virtual with its own name as prefix, as `mail.mailboxes` makes it, and its folder has `.qmail-default`.
So mailboxes of the domain come first, whether they were there before or come later.

Fails: EqmailError for a domain that is delivered another way, and for targets that do not exist.
Source: dot-qmail(5); docs/spec/delivery.md 5.4.
"""

import os
from collections.abc import Sequence

from eqmail_core.local.delivery.dotqmail import FORWARD, parse
from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError, usage_error
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.manifest import OwnershipPolicy
from eqmail_setup.installation.manifest_nodes import PathKind
from eqmail_setup.mail import domains
from eqmail_setup.mail.aliases import alias_content, alias_permissions
from eqmail_setup.mail.mailboxes import domain_entry, list_mailboxes
from eqmail_setup.mail.routing import route_address, text
from eqmail_setup.mail.users import plan_assign, read_entries
from eqmail_setup.transaction.filesystem import Filesystem, snapshot
from eqmail_setup.transaction.operations import CreateNode, RemoveFile, WriteFile
from eqmail_setup.transaction.plan import Change

FILE = ".qmail-default"


def plan_catch_all(
    site: Site, filesystem: Filesystem, name: str, ids: tuple[int, int], targets: Sequence[str], replace: bool
) -> list[Change]:
    """Actions after which every address of a domain without a mailbox goes to the targets.

    `ids`: of the mailboxes of the domain. `replace`: also where the domain is delivered another way.
    """
    domain = text(domains.require_domain(name, False))
    _require_targets(site, filesystem, domain, targets)
    there = next((item for item in domains.domains_of(site, filesystem) if item.name == domain), None)
    if there is not None and there.kind == "local" and not replace:
        hint = ("eqmail", "alias", "add", "default", *targets)
        raise EqmailError(
            f"{domain}: is a local domain; one alias catches the unknown addresses of all of them", hint=hint
        )
    found = domains.plan_add(site, filesystem, domain, domain, False, replace)
    assignments = read_entries(site)
    entry = domain_entry(site, domain, ids)
    if not any(other.key() == entry.key() for other in assignments.entries()):
        assignments.put([entry], False)
        found += plan_assign(site, filesystem, assignments)
    present = snapshot(_path(site, domain), filesystem)
    if present is not None and present.content != alias_content(targets) and not replace:
        show = filesystem.display_path(_path(site, domain))
        raise EqmailError(f"{show}: says {text(present.content.strip())!r}; --replace replaces it")
    return [*found, *plan_targets(site, filesystem, domain, targets)]


def catch_all_of(site: Site, filesystem: Filesystem, domain: str) -> list[str]:
    """The targets of a domain; none where its file has other instructions than addresses."""
    state = snapshot(_path(site, domain), filesystem) if _is_folder(domain) else None
    steps = parse(state.content) if state is not None and state.kind is PathKind.FILE else ()
    return [text(target) for _, target in steps] if all(kind == FORWARD for kind, _ in steps) else []


def plan_targets(site: Site, filesystem: Filesystem, domain: str, targets: Sequence[str]) -> list[Change]:
    """Actions after which the file of a domain has these targets; without any it is removed."""
    path, folder = _path(site, domain), f"{site.layout.users}/{domain}"
    show, state = filesystem.display_path(path), snapshot(path, filesystem)
    content = alias_content(targets)
    if not targets:
        return [] if state is None else [Change(show, "a catch-all", "absent", RemoveFile(path))]
    if state is not None and state.content == content:
        return []
    found = []
    if filesystem.stat(folder) is None:
        node = CreateNode(folder, PathKind.DIRECTORY, OwnershipPolicy(site, caller())("owner", 0o755))
        found.append(Change(filesystem.display_path(folder), "missing", "a directory", node))
    write = WriteFile(path, content, state.permissions if state else alias_permissions(site))
    return [*found, Change(show, "other targets" if state else "missing", "these", write)]


def _path(site: Site, domain: str) -> str:
    return f"{site.layout.users}/{domain}/{FILE}"


def _is_folder(domain: str) -> bool:
    return bool(domain) and not domain.startswith(".") and "/" not in domain and "@" not in domain


def _require_targets(site: Site, filesystem: Filesystem, domain: str, targets: Sequence[str]) -> None:
    """Refuse a target that does not exist here, and one that comes back to the same file."""
    boxes = {str(box.address) for box in list_mailboxes(site, filesystem, domain)}
    for target in targets:
        if target[:1] in "./|#":
            raise usage_error(f"--catch-all {target!r}: give an address, or the name of a local user")
        if target.lower().rpartition("@")[2] == domain:
            if target.lower() not in boxes:
                hint = ("eqmail", "mailbox", "add", target)
                raise EqmailError(f"--catch-all {target}: has no mailbox, so its mail would come back", hint=hint)
        elif route_address(site, os.fsencode(target.removeprefix("&"))).failure.endswith("(#5.1.1)"):
            raise EqmailError(f"--catch-all {target}: unknown local recipient")
