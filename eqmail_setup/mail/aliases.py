"""The addresses that no account owns: .qmail files in the home of the aliases, and what they may say.

A name is a local part; in the file name dots are colons and letters are small, as the delivery looks for it. A target
is what one line of a .qmail file may be: an address, a local part, a Maildir, an mbox or a program.

Fails: Refusal for what would not deliver: a loop, a target that nobody is, a line that means something else.
Source: delivery.md 5.4, 5.10; dot-qmail(5).
"""

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from eqmail_core.local.delivery.dotqmail import FORWARD, MAILDIR, MBOX, PROGRAM, parse
from eqmail_core.local.delivery.request import safe_extension
from eqmail_core.site.site import Site
from eqmail_core.text.invisible_characters import cleaned, oddities, visible
from eqmail_setup.errors import Refusal, usage
from eqmail_setup.installation.accounts import caller, home_of
from eqmail_setup.installation.loading import as_installed
from eqmail_setup.installation.manifest import Wardrobe
from eqmail_setup.installation.manifest_nodes import Dress
from eqmail_setup.mail.routing import forwards_of, text, whither
from eqmail_setup.transaction.filesystem import LINK, State, World, state_of
from eqmail_setup.transaction.operations import Link, Unlink, Write
from eqmail_setup.transaction.plan import Difference, Weight

PREFIX = ".qmail-"
ROOT, POSTMASTER = "root", "postmaster"
SAME_AS_POSTMASTER = ("mailer-daemon", "abuse")
_MOST_STEPS = 50
_KINDS = (FORWARD, MAILDIR, MBOX, PROGRAM)


class Alias(NamedTuple):
    """One alias as it lies on the disk; `same_as` is the name that a link stands for."""

    name: str
    lines: tuple[str, ...]
    same_as: str = ""


def home_of_aliases(site: Site) -> list[Difference]:
    """The account of the aliases says where their .qmail files are looked for, as ever."""
    user, place = site.accounts.user("alias"), as_installed(site, site.alias)
    try:
        lives = place if site.single_user else home_of(user)
    except KeyError:
        return []  # that the account is missing is said elsewhere
    if lives == place:
        return []
    found, wanted = f"the user {user} lives in {lives}", f"the same: usermod -d {place} {user}"
    return [Difference(site.alias, found, wanted, weight=Weight.ADVICE)]


def file_of(name: str) -> str:
    """The file of an alias.

    Fails: Refusal for what is no local part.
    """
    if not name or "@" in name or "/" in name or any(sign.isspace() or not sign.isprintable() for sign in name):
        raise usage(f"{name!r} is not a local part; give the part of the address before the @")
    return PREFIX + os.fsdecode(safe_extension(os.fsencode(name)))


def name_of(file: str) -> str:
    """The local part that a file stands for."""
    return file.removeprefix(PREFIX).replace(":", ".")


def aliases_in(site: Site, world: World) -> list[Alias]:
    """Every alias of an installation."""
    folder = site.layout.alias
    return [found for name in world.names(folder) if name.startswith(PREFIX) for found in _read(folder, name, world)]


def _read(folder: str, file: str, world: World) -> Iterator[Alias]:
    state = state_of(f"{folder}/{file}", world)
    if state is None:
        return
    if state.kind == LINK:
        yield Alias(name_of(file), (), name_of(os.fsdecode(state.content)))
    elif state.kind == "a file":
        lines = state.content.removesuffix(b"\n").split(b"\n") if state.content else []
        yield Alias(name_of(file), tuple(map(text, lines)))


def adding(
    site: Site, world: World, name: str, targets: Iterable[str], replace: bool, checked: bool = True
) -> list[Difference]:
    """What has to be done so that mail for `name` goes to the targets; unless `checked`, they may not be there yet.

    Fails: Refusal, unless `replace`, where the alias exists and says something else.
    """
    lines = [_line(target) for target in targets]
    if checked:
        _demand_deliverable(site, name, [line.removeprefix("&") for line in lines if line[:1] not in "./|"])
    content = os.fsencode("".join(f"{line}\n" for line in lines))
    return _writing(site, world, name, content, replace)


def beginning(site: Site, world: World, target: str, checked: bool = True) -> list[Difference]:
    """What has to be done so that every address exists that a host must have; what exists is kept.

    The aliases are root, postmaster, mailer-daemon and abuse: all go the way of root, and root's mail to `target`.
    """
    root = f"{site.layout.alias}/{file_of(ROOT)}"
    state = state_of(root, world)
    found = [] if state else adding(site, world, ROOT, [target], False, checked)
    if state and state.content.strip() not in (os.fsencode(target), b"&" + os.fsencode(target)):
        wanted = f"so; for {target}: eqmail alias add {ROOT} {target} --replace"
        said = f"exists and says {_said(state)}"
        found.append(Difference(world.show(root), said, wanted, weight=Weight.KEPT))
    postmaster = f"{site.layout.alias}/{file_of(POSTMASTER)}"
    if not state_of(postmaster, world):
        found += _writing(site, world, POSTMASTER, f"{ROOT}\n".encode(), False)
    for name in SAME_AS_POSTMASTER:
        path = f"{site.layout.alias}/{file_of(name)}"
        if not state_of(path, world):
            link = Link(path, file_of(POSTMASTER))
            found.append(Difference(world.show(path), "missing", f"a link to {file_of(POSTMASTER)}", link))
    return found


def removing(site: Site, world: World, name: str) -> list[Difference]:
    """What has to be done so that an alias is gone; links to it would dangle, so they go first.

    Fails: Refusal where other aliases are links to it.
    """
    file = file_of(name)
    path = f"{site.layout.alias}/{file}"
    if state_of(path, world) is None:
        return [Difference(world.show(path), "missing", "so", weight=Weight.KEPT)]
    links = [alias.name for alias in aliases_in(site, world) if alias.same_as and file_of(alias.same_as) == file]
    if links:
        raise Refusal(f"{world.show(path)}: {', '.join(links)} would point to nothing; remove them first")
    return [Difference(world.show(path), "an alias", "absent", Unlink(path))]


def _writing(site: Site, world: World, name: str, content: bytes, replace: bool) -> list[Difference]:
    path = f"{site.layout.alias}/{file_of(name)}"
    show, state = world.show(path), state_of(path, world)
    if state is not None and state.content == content and state.kind == "a file":
        return []
    write = Write(path, content, dress_of(site))
    if state is None:
        return [Difference(show, "missing", "an alias", write)]
    if not replace:
        raise Refusal(f"{show}: exists and says {_said(state)}; --replace replaces it")
    dress = state.dress if state.kind == "a file" else write.dress
    return [Difference(show, "other instructions", "these", write._replace(dress=dress))]


def _said(state: State) -> str:
    return "a link" if state.kind == LINK else f"'{visible(state.content.strip())}'"


def dress_of(site: Site) -> Dress:
    """Owner and mode of an alias: root's, so that no program that an alias runs can change it."""
    return Wardrobe(site, caller())("owner", 0o644)


def _line(target: str) -> str:
    line = target.rstrip(" \t")
    if "\n" in line or "\0" in line:
        raise usage(f"{target!r} is more than one line; give each line as an argument of its own")
    found = parse(os.fsencode(line) + b"\n")
    if len(found) != 1 or found[0][0] not in _KINDS or not found[0][1].strip():
        raise usage(f"{target!r} is no target; give an address, a local part, ./Maildir/, ./Mailbox or '|PROGRAM'")
    kind, argument = found[0]
    if kind == FORWARD and not _is_address(argument):
        raise usage(f"{target!r} is not an address; give one such as joe@example.org, or the name of a user")
    if odd := oddities(os.fsencode(line)):
        raise usage(f"{target!r} {odd[0][1]}")
    return line


def _is_address(argument: bytes) -> bool:
    """Whether a line is an address as dot-qmail(5) wants it: one, alone, and without brackets or quotes."""
    is_whole = argument[-1:] != b"@" and argument[:1] != b"@" and argument.count(b"@") <= 1
    return is_whole and not any(byte <= 32 or byte in b'<>(),;"\\' for byte in argument)


def examined(site: Site, world: World) -> Iterator[Difference]:
    """What a delivery would take otherwise than it was meant: files of Windows, and lines that are no addresses."""
    folder = site.layout.alias
    for name in world.names(folder):
        state = state_of(f"{folder}/{name}", world) if name.startswith(".qmail") else None
        if state is None or state.kind != "a file":
            continue
        path, meant = f"{folder}/{name}", cleaned(state.content)
        for _, odd in oddities(state.content)[:1]:
            mends = meant != state.content
            write = Write(path, meant, state.dress) if mends else None
            wanted = "without that: eqmail check --fix" if mends else "only what can be seen"
            yield Difference(world.show(path), odd, wanted, write)
        for kind, argument in parse(meant + b"\n") if meant.strip() else ():
            if kind == FORWARD and not _is_address(argument):
                found = f"'{visible(argument)}' is not an address, so mail for it bounces"
                yield Difference(world.show(path), found, "one address in a line, as joe@example.org")


def _demand_deliverable(site: Site, name: str, targets: list[str]) -> None:
    """Refuse targets that nobody is here, and ways that come back to the alias itself."""
    waiting, known = [(target, name) for target in targets], {file_of(name)}
    for _ in range(_MOST_STEPS):
        if not waiting:
            return
        target, origin = waiting.pop()
        found = whither(site, os.fsencode(target))
        if found.channel != "local" or found.user is None:
            continue
        file = os.path.basename(found.file) if found.file else found.tried[0][0] if found.tried else ""
        if os.fsdecode(found.user.home) == site.alias and file == file_of(name):
            raise Refusal(f"{name}: mail would go round in a circle, by way of {target}; choose another target")
        if found.trouble.endswith("(#5.1.1)"):
            raise Refusal(f"{origin}: nobody here is {target}; add that alias or user first")
        if file not in known:
            known.add(file)
            waiting += [(further, target) for further in forwards_of(found)]
