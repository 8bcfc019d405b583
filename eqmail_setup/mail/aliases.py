"""The addresses that no account owns: .qmail files in the home of the aliases, and what they may say.

A name is a local part; in the file name dots are colons and letters are small, as the delivery looks for it. A target
is what one line of a .qmail file may be: an address, a local part, a Maildir, an mbox or a program.

Fails: Refusal for what would not deliver: a loop, an unknown target, a line with another meaning.
Source: delivery.md 5.4, 5.10; dot-qmail(5).
"""

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from eqmail_core.local.delivery.dotqmail import FORWARD, MAILDIR, MBOX, PROGRAM, parse
from eqmail_core.local.delivery.request import safe_extension
from eqmail_core.site.site import Site
from eqmail_core.text.invisible_characters import cleaned, oddities, visible
from eqmail_setup.errors import EqmailError, Severity, not_found, usage_error
from eqmail_setup.installation.accounts import caller, home_of
from eqmail_setup.installation.manifest import OwnershipPolicy
from eqmail_setup.installation.manifest_nodes import PathKind, Permissions
from eqmail_setup.installation.staging import final_path
from eqmail_setup.mail.routing import forwards_of, route_address, text
from eqmail_setup.transaction.filesystem import Filesystem, PathSnapshot, snapshot
from eqmail_setup.transaction.operations import CreateSymlink, RemoveFile, WriteFile
from eqmail_setup.transaction.plan import Change

PREFIX = ".qmail-"
ROOT, POSTMASTER = "root", "postmaster"
LINKED_TO_BOUNCE_CONFIG = ("mailer-daemon", "abuse")
_MAX_STEPS = 50
_KINDS = (FORWARD, MAILDIR, MBOX, PROGRAM)


class Alias(NamedTuple):
    """One alias as it lies on the disk; `same_as` is the name that a link stands for."""

    name: str
    lines: tuple[str, ...]
    same_as: str = ""


def alias_folder(site: Site) -> list[Change]:
    """The home of the alias account has the .qmail files of the aliases."""
    user, place = site.accounts.user("alias"), final_path(site, site.alias)
    try:
        account_home = place if site.single_user else home_of(user)
    except KeyError:
        return []  # the missing account is reported elsewhere
    if account_home == place:
        return []
    found, expected = f"the user {user} lives in {account_home}", f"the same: usermod -d {place} {user}"
    return [Change(site.alias, found, expected, severity=Severity.INFO)]


def file_of(name: str) -> str:
    """The file of an alias.

    Fails: Refusal for what is no local part.
    """
    if not name or "@" in name or "/" in name or any(sign.isspace() or not sign.isprintable() for sign in name):
        raise usage_error(f"{name!r} is not a local part; give the part of the address before the @")
    return PREFIX + os.fsdecode(safe_extension(os.fsencode(name)))


def name_of(file: str) -> str:
    """The local part that a file stands for."""
    return file.removeprefix(PREFIX).replace(":", ".")


def aliases_in(site: Site, filesystem: Filesystem) -> list[Alias]:
    """Every alias of an installation."""
    folder = site.layout.alias
    return [
        found
        for name in filesystem.listdir(folder)
        if name.startswith(PREFIX)
        for found in _read(folder, name, filesystem)
    ]


def _read(folder: str, file: str, filesystem: Filesystem) -> Iterator[Alias]:
    state = snapshot(f"{folder}/{file}", filesystem)
    if state is None:
        return
    if state.kind == PathKind.SYMLINK:
        yield Alias(name_of(file), (), name_of(os.fsdecode(state.content)))
    elif state.kind == PathKind.FILE:
        lines = state.content.removesuffix(b"\n").split(b"\n") if state.content else []
        yield Alias(name_of(file), tuple(map(text, lines)))


def plan_add(
    site: Site, filesystem: Filesystem, name: str, targets: Iterable[str], replace: bool, checked: bool = True
) -> list[Change]:
    """Actions after which mail for `name` goes to the targets; unless `checked`, they may not be there yet.

    Fails: Refusal, unless `replace`, if the alias exists with other targets.
    """
    lines = [_line(target) for target in targets]
    if checked:
        _require_deliverable(site, name, [line.removeprefix("&") for line in lines if line[:1] not in "./|"])
    content = os.fsencode("".join(f"{line}\n" for line in lines))
    return _plan_write(site, filesystem, name, content, replace)


def alias_content(targets: Iterable[str]) -> bytes:
    """The content of an alias with these lines; comments and the empty alias, for the default delivery, are allowed."""
    return os.fsencode("".join(f"{target if target[:1] in ('#', '') else _line(target)}\n" for target in targets))


def plan_required_aliases(site: Site, filesystem: Filesystem, target: str, checked: bool = True) -> list[Change]:
    """Actions after which every address exists that a host must have; what exists is kept.

    The aliases are root, postmaster, mailer-daemon and abuse: all go the way of root, and root's mail to `target`.
    """
    root = f"{site.layout.alias}/{file_of(ROOT)}"
    state = snapshot(root, filesystem)
    found = [] if state else plan_add(site, filesystem, ROOT, [target], False, checked)
    if state and state.content.strip() not in (os.fsencode(target), b"&" + os.fsencode(target)):
        expected = f"so; for {target}: eqmail alias add {ROOT} {target} --replace"
        said = f"exists and says {_display(state)}"
        found.append(Change(filesystem.display_path(root), said, expected, severity=Severity.WARNING))
    bounce_config = f"{site.layout.alias}/{file_of(POSTMASTER)}"
    if not snapshot(bounce_config, filesystem):
        found += _plan_write(site, filesystem, POSTMASTER, f"{ROOT}\n".encode(), False)
    for name in LINKED_TO_BOUNCE_CONFIG:
        path = f"{site.layout.alias}/{file_of(name)}"
        if not snapshot(path, filesystem):
            link = CreateSymlink(path, file_of(POSTMASTER))
            found.append(Change(filesystem.display_path(path), "missing", f"a link to {file_of(POSTMASTER)}", link))
    return found


def plan_remove(site: Site, filesystem: Filesystem, name: str) -> list[Change]:
    """Actions after which an alias is gone; links to it would dangle, so they go first.

    Fails: Refusal where other aliases are links to it.
    """
    file = file_of(name)
    path = f"{site.layout.alias}/{file}"
    if snapshot(path, filesystem) is None:
        raise not_found(f"alias {name}", ("eqmail", "alias", "list"))
    links = [alias.name for alias in aliases_in(site, filesystem) if alias.same_as and file_of(alias.same_as) == file]
    if links:
        raise EqmailError(
            f"{filesystem.display_path(path)}: {', '.join(links)} would point to nothing; remove them first"
        )
    return [Change(filesystem.display_path(path), "an alias", "absent", RemoveFile(path))]


def _plan_write(site: Site, filesystem: Filesystem, name: str, content: bytes, replace: bool) -> list[Change]:
    path = f"{site.layout.alias}/{file_of(name)}"
    show, state = filesystem.display_path(path), snapshot(path, filesystem)
    if state is not None and state.content == content and state.kind == PathKind.FILE:
        return []
    write = WriteFile(path, content, alias_permissions(site))
    if state is None:
        return [Change(show, "missing", "an alias", write)]
    if not replace:
        raise EqmailError(f"{show}: exists and says {_display(state)}; --replace replaces it")
    permissions = state.permissions if state.kind == PathKind.FILE else write.permissions
    return [Change(show, "other instructions", "these", write._replace(permissions=permissions))]


def _display(state: PathSnapshot) -> str:
    return "a link" if state.kind == PathKind.SYMLINK else f"'{visible(state.content.strip())}'"


def alias_permissions(site: Site) -> Permissions:
    """Owner and mode of an alias: root's, so that no program that an alias runs can change it."""
    return OwnershipPolicy(site, caller())("owner", 0o644)


def _line(target: str) -> str:
    line = target.rstrip(" \t")
    if "\n" in line or "\0" in line:
        raise usage_error(f"{target!r} is more than one line; give each line as an argument of its own")
    found = parse(os.fsencode(line) + b"\n")
    if len(found) != 1 or found[0][0] not in _KINDS or not found[0][1].strip():
        raise usage_error(
            f"{target!r} is no target; give an address, a local part, ./Maildir/, ./Mailbox or '|PROGRAM'"
        )
    kind, argument = found[0]
    if kind == FORWARD and not _is_address(argument):
        raise usage_error(f"{target!r} is not an address; give one such as joe@example.org, or the name of a user")
    if odd := oddities(os.fsencode(line)):
        raise usage_error(f"{target!r} {odd[0][1]}")
    return line


def _is_address(argument: bytes) -> bool:
    """Whether a line is an address as dot-qmail(5) wants it: one, alone, and without brackets or quotes."""
    is_whole = argument[-1:] != b"@" and argument[:1] != b"@" and argument.count(b"@") <= 1
    return is_whole and not any(byte <= 32 or byte in b'<>(),;"\\' for byte in argument)


def examined(site: Site, filesystem: Filesystem) -> Iterator[Change]:
    """What a delivery would take otherwise than it was meant: files of Windows, and lines that are no addresses."""
    folder = site.layout.alias
    for name in filesystem.listdir(folder):
        state = snapshot(f"{folder}/{name}", filesystem) if name.startswith(".qmail") else None
        if state is None or state.kind != PathKind.FILE:
            continue
        path, meant = f"{folder}/{name}", cleaned(state.content)
        for _, odd in oddities(state.content)[:1]:
            mends = meant != state.content
            write = WriteFile(path, meant, state.permissions) if mends else None
            expected = "without that: eqmail check --fix" if mends else "only what can be seen"
            yield Change(filesystem.display_path(path), odd, expected, write)
        for kind, argument in parse(meant + b"\n") if meant.strip() else ():
            if kind == FORWARD and not _is_address(argument):
                found = f"'{visible(argument)}' is not an address, so mail for it bounces"
                yield Change(filesystem.display_path(path), found, "one address in a line, as joe@example.org")


def _require_deliverable(site: Site, name: str, targets: list[str]) -> None:
    """Refuse targets that are unknown here, and loops back to the alias itself."""
    waiting, known = [(target, name) for target in targets], {file_of(name)}
    for _ in range(_MAX_STEPS):
        if not waiting:
            return
        target, origin = waiting.pop()
        found = route_address(site, os.fsencode(target))
        if found.channel != "local" or found.user is None:
            continue
        file = os.path.basename(found.file) if found.file else found.tried[0][0] if found.tried else ""
        if os.fsdecode(found.user.home) == site.alias and file == file_of(name):
            raise EqmailError(f"{name}: mail would loop through {target}; choose another target")
        if found.failure.endswith("(#5.1.1)"):
            raise EqmailError(f"alias '{origin}': unknown local recipient '{target}'")
        if file not in known:
            known.add(file)
            waiting += [(further, target) for further in forwards_of(found)]
