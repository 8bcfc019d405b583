"""Changing control files: single lines of a list, or whole files; refused where a program could not use the result.

Fails: Refusal that names file, line and remedy.
"""

import ipaddress
import os
import re
from collections.abc import Callable, Iterable
from typing import Any

from eqmail_core.control.declared import Controls
from eqmail_core.control.kinds import Lines, Map
from eqmail_core.control.setting import Control
from eqmail_core.formats.lines import first_line, listed
from eqmail_core.store.domains_db import domain_records
from eqmail_core.values.site import Site
from eqmail_setup.actions import Unlink, Write
from eqmail_setup.cdb_bytes import database_bytes
from eqmail_setup.hierarchy import Wardrobe
from eqmail_setup.plan import Difference
from eqmail_setup.refusal import Refusal, usage
from eqmail_setup.who import caller
from eqmail_setup.world import World, state_of

_LISTEN = re.compile(r"(?:tls:)?(\[[0-9A-Fa-f:.%]+\]|[^:\s\[\]]*):([0-9]{1,5})")
MOST_CONCURRENT = 255


def declared(name: str) -> Control[Any]:
    """The setting of this file name.

    Fails: Refusal where there is none, with the nearest name.
    """
    controls = {control.file: control for control in Controls.declared().values()}
    if name in controls:
        return controls[name]
    from difflib import get_close_matches

    near = get_close_matches(name, controls, 1)
    hint = f"did you mean {near[0]}?" if near else "eqmail config show lists all"
    raise usage(f"there is no setting {name!r}; {hint}")


def path_of(site: Site, control: Control[Any]) -> str:
    """Where a setting lies, as the world wants it."""
    return f"{site.layout.control}/{control.file}"


def content_of(site: Site, world: World, control: Control[Any]) -> bytes | None:
    """The bytes of a control file as they are; None where it does not exist."""
    state = state_of(path_of(site, control), world)
    if state is None:
        return None
    if state.kind != "a file":
        return world.read(path_of(site, control))
    return state.content


def writing(site: Site, world: World, control: Control[Any], content: bytes) -> list[Difference]:
    """What has to be done so that a control file has this content."""
    demand_usable(site, control, content)
    path = path_of(site, control)
    state = state_of(path, world)
    if state is not None and state.content == content and state.kind == "a file":
        return []
    dress = state.dress if state and state.kind == "a file" else Wardrobe(site, caller())("owner", 0o644)
    write = Write(path, content, dress)
    return [Difference(world.show(path), "other content" if state else "missing", "this content", write)]


def unsetting(site: Site, world: World, control: Control[Any]) -> list[Difference]:
    """What has to be done so that the default of a setting is in force."""
    path = path_of(site, control)
    if state_of(path, world) is None:
        return []
    return [Difference(world.show(path), "set", "absent, so that the default is in force", Unlink(path))]


def compiling(site: Site, world: World, text: bytes) -> list[Difference]:
    """What has to be done so that morercpthosts.cdb is what qmail-newmrh makes of this text."""
    path, content = path_of(site, Controls.morercpthosts_cdb), database_bytes(domain_records(text))
    state = state_of(path, world)
    if state is not None and state.content == content:
        return []
    write = Write(path, content, state.dress if state else Wardrobe(site, caller())("owner", 0o644))
    return [Difference(world.show(path), "older than its text" if state else "missing", "made anew", write)]


def with_lines(content: bytes | None, lines: Iterable[bytes]) -> bytes:
    """A list with these lines at its end, as far as it has not got them; all others stay byte for byte."""
    made = content or b""
    for line in lines:
        if line.lower() not in {entry.lower() for entry in listed(made)}:
            made += (b"" if made.endswith(b"\n") or not made else b"\n") + line + b"\n"
    return made


def without_lines(content: bytes | None, unwanted: Callable[[bytes], bool]) -> bytes | None:
    """A list without some entries; comments and all other lines stay byte for byte."""
    if content is None:
        return None
    kept = []
    for line in content.splitlines(keepends=True):
        entries = listed(line)
        if not entries or not unwanted(entries[0]):
            kept.append(line)
    return b"".join(kept)


def demand_usable(site: Site, control: Control[Any], content: bytes) -> None:
    """Refuse what a program could not use, or would read as something else than was meant."""
    file = f"{site.control}/{control.file}"
    remedy = f"eqmail config explain {control.file} tells what it may hold"
    check = _CHECKS.get(control.file)
    lines = content.split(b"\n")
    for number, line in enumerate(lines, 1):
        if isinstance(control, Lines | Map):
            remarks = control.parse(line + b"\n")[1]
            if remarks:
                raise usage(f"{file}: line {number}: {remarks[0]}; {remedy}")
        entries = listed(line) if isinstance(control, Lines | Map) else [first_line(line)] if number == 1 else []
        trouble = check(entries[0]) if check and entries else ""
        if trouble:
            raise usage(f"{file}: line {number}: {os.fsdecode(entries[0])!r} {trouble}; {remedy}")
    remarks = control.parse(content)[1]
    if remarks:
        raise usage(f"{file}: {'; '.join(remarks)}; {remedy}")


def demand_settable(control: Control[Any]) -> None:
    """Refuse what is made by a program and not by hand."""
    if control is Controls.morercpthosts_cdb:
        raise Refusal(f"{control.file} is made of {Controls.morercpthosts.file}; set that one")


def _listen(value: bytes) -> str:
    match = _LISTEN.fullmatch(os.fsdecode(value))
    if match and 0 < int(match[2]) < 1 << 16:
        return ""
    return "is not ADDRESS:PORT or [IPv6]:PORT (tls: before it for TLS from the first byte)"


def _network(value: bytes) -> str:
    try:
        ipaddress.ip_network(os.fsdecode(value), strict=False)
    except ValueError:
        return "is not an address or a network such as 192.0.2.0/24"
    return ""


def _address(value: bytes) -> str:
    try:
        ipaddress.ip_address(os.fsdecode(value))
    except ValueError:
        return "is not an address such as 192.0.2.1 or 2001:db8::1"
    return ""


def _route(value: bytes) -> str:
    target, blank, credentials = value.partition(b":")[2].partition(b" ")
    port = target.rpartition(b"]")[2].partition(b":")[2]
    if port and not (port.isdigit() and 0 < int(port) < 1 << 16):
        return "has a port that is none"
    return "has a user without a password" if blank and b" " not in credentials.strip() else ""


def _domain(value: bytes) -> str:
    bad = any(byte <= 32 or byte >= 127 or byte in b'@/:,;<>()"\\' for byte in value)
    return "is not a domain (in another script: its xn-- form)" if bad else ""


def _one_of(*names: bytes) -> Callable[[bytes], str]:
    return lambda value: "" if value in names else f"is not one of {', '.join(map(os.fsdecode, names))}"


def _between(least: int, most: int) -> Callable[[bytes], str]:
    def check(value: bytes) -> str:
        return "" if not value.isdigit() or least <= int(value) <= most else f"is not between {least} and {most}"

    return check


def _path(value: bytes) -> str:
    return "" if value.startswith(b"/") else "does not begin with a slash"


_CHECKS: dict[str, Callable[[bytes], str]] = {
    Controls.smtplisten.file: _listen,
    Controls.relayclients.file: _network,
    Controls.outgoingip.file: _address,
    Controls.smtproutes.file: _route,
    Controls.locals.file: _domain,
    Controls.rcpthosts.file: _domain,
    Controls.morercpthosts.file: _domain,
    Controls.percenthack.file: _domain,
    Controls.queuedurability.file: _one_of(b"journal", b"together", b"each"),
    Controls.logformat.file: _one_of(b"1.09", b"head"),
    Controls.concurrencylocal.file: _between(0, MOST_CONCURRENT),
    Controls.concurrencyremote.file: _between(0, MOST_CONCURRENT),
    Controls.smtpworkers.file: _between(1, MOST_CONCURRENT),
    Controls.remoteworkers.file: _between(1, MOST_CONCURRENT),
    Controls.checkpwtools.file: _path,
}
