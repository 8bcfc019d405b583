"""Which service files an installation has, with the options they were generated from: HOME/services.json.

A file that is generated again gets the options of the last time, except those given now; so no listener is lost
because it was not named again.

Fails: EqmailError for a record that cannot be read.
"""

import json
import os
import re
import shlex
from collections.abc import Iterable
from typing import Any, NamedTuple

from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError, Severity
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.managed_file import Origin, origin_of
from eqmail_setup.installation.manifest import OwnershipPolicy
from eqmail_setup.installation.manifest_nodes import PathKind
from eqmail_setup.services.activation import service_folders
from eqmail_setup.services.compose import compose
from eqmail_setup.services.definitions import SERVICES
from eqmail_setup.services.managers import MANAGERS, ServiceFile
from eqmail_setup.services.options import ServiceOptions
from eqmail_setup.transaction.filesystem import Filesystem, snapshot
from eqmail_setup.transaction.operations import RemoveFile, WriteFile
from eqmail_setup.transaction.plan import Change

FILE = "services.json"
"""Name of the record in the home."""

_SCHEMA = "eqmail/services-1"
_WORD = re.compile(r"--smtp\s+(\S+|'[^']*')")
_UNIT = re.compile(r"^Sockets=\S+-(\w+)\.socket$", re.MULTILINE)


class InstalledServices(NamedTuple):
    """The files of one service manager: the services they run, and the options, KEY=VALUE, they were made with."""

    manager: str
    name: str
    services: tuple[str, ...]
    options: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str]:
        """The key of a record: the manager, and the name of the services there."""
        return self.manager, self.name


def load_services(site: Site, filesystem: Filesystem) -> list[InstalledServices]:
    """What is on record, in the order in which it was installed."""
    state = snapshot(FILE, filesystem)
    if state is None:
        return []
    try:
        value: dict[str, Any] = json.loads(state.content)
        if value["schema"] != _SCHEMA:
            raise ValueError(value["schema"])
        return [
            InstalledServices(str(it["manager"]), str(it["name"]), tuple(it["services"]), tuple(it["options"]))
            for it in value["installed"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise EqmailError(f"{filesystem.display_path(FILE)}: not a record of service files; remove it") from error


def find_services(installed: Iterable[InstalledServices], manager: str, name: str = "") -> InstalledServices | None:
    """The record of a manager, of this name or the only one of any name; None if there is none."""
    found = [it for it in installed if it.manager == manager and name in ("", it.name)]
    return found[0] if len(found) == 1 else None


def plan_records(site: Site, filesystem: Filesystem, entries: Iterable[InstalledServices]) -> list[Change]:
    """Actions after which  these files are on record with their options."""
    installed = load_services(site, filesystem)
    for entry in entries:
        if entry not in installed:
            installed = [*(it for it in installed if it.key != entry.key), entry]
    return _plan_write(site, filesystem, installed)


def plan_forget(site: Site, filesystem: Filesystem, entry: InstalledServices) -> list[Change]:
    """Actions after which  these files are not on record."""
    return _plan_write(site, filesystem, [it for it in load_services(site, filesystem) if it.key != entry.key])


def _plan_write(site: Site, filesystem: Filesystem, entries: list[InstalledServices]) -> list[Change]:
    show, state = filesystem.display_path(FILE), snapshot(FILE, filesystem)
    if not entries:
        return [] if state is None else [Change(show, "no service files", "absent", RemoveFile(FILE))]
    value = {"schema": _SCHEMA, "installed": [it._asdict() for it in entries]}
    content = (json.dumps(value, indent=1) + "\n").encode()
    if state is not None and state.content == content:
        return []
    write = WriteFile(FILE, content, OwnershipPolicy(site, caller())("owner", 0o644))
    return [Change(show, "other service files" if state else "missing", "these service files", write)]


def installed_services(site: Site, filesystem: Filesystem) -> list[InstalledServices]:
    """What is on record; without a record, the managers whose usual file is there, with their usual options."""
    on_record = load_services(site, filesystem)
    if on_record:
        return on_record
    found = []
    for name, manager in MANAGERS.items():
        options = ServiceOptions((), tuple(SERVICES))
        pieces = compose(manager, site, options, manager.default_services, installed=False)
        files = [piece.path for piece in pieces if piece.template]
        if any(filesystem.stat(path) is not None for path in files[:1]):
            found.append(InstalledServices(name, manager.name, manager.default_services, ()))
    return found


def plan_removal(
    site: Site, filesystem: Filesystem, entry: InstalledServices, pieces: list[ServiceFile]
) -> list[Change]:
    """Actions after which  these files are gone; logs and what an administrator edited stay."""
    found: list[Change] = []
    logs = f"{pieces[0].values.logdir}/"
    if MANAGERS[entry.manager].scanned:
        for folder in service_folders(pieces):
            path = f"{pieces[0].values.scanned}/{os.path.basename(folder)}"
            if filesystem.read_link(path) == folder:
                found.append(Change(filesystem.display_path(path), "a link", "absent", RemoveFile(path)))
    for piece in pieces:
        state = snapshot(piece.path, filesystem) if piece.template and not piece.path.startswith(logs) else None
        if state is None:
            continue
        show = filesystem.display_path(piece.path)
        if state.kind == PathKind.FILE and origin_of(state.content) is Origin.MANAGED:
            found.append(Change(show, "a service file", "absent", RemoveFile(piece.path)))
        else:
            found.append(Change(show, "edited by hand", "as it is", severity=Severity.WARNING))
    return found + plan_forget(site, filesystem, entry)


def merged_options(remembered: Iterable[str], given: Iterable[str]) -> tuple[str, ...]:
    """Options, KEY=VALUE: those given now, and the remembered ones of other keys; each key once, sorted."""
    found = {pair.partition("=")[0]: pair for pair in (*remembered, *given)}
    return tuple(found[key] for key in sorted(found))


def lost_listeners(
    pieces: list[ServiceFile], remembered: InstalledServices | None, filesystem: Filesystem
) -> list[str]:
    """Where clients can connect now, and could not any more after these files were written.

    Without a record it is read from the existing files, as far as they name addresses.
    """
    if remembered is not None:
        running = {socket.service for piece in pieces for socket in piece.values.sockets}
        return [service for service in remembered.services if service not in running and service != "mta"]
    after = {
        place for piece in pieces for socket in piece.values.sockets for place in (*socket.addresses, socket.service)
    }
    lost: list[str] = []
    for path in dict.fromkeys(piece.path for piece in pieces if piece.template):
        state = snapshot(path, filesystem)
        if state is not None and state.kind == PathKind.FILE:
            lost += [place for place in _listeners_in(state.content) if _bare(place) not in after]
    return list(dict.fromkeys(lost))


def _listeners_in(content: bytes) -> list[str]:
    """The addresses and the socket units that a service file names."""
    text = content.decode("utf-8", "replace")
    return [shlex.split(word)[0] for word in _WORD.findall(text)] + _UNIT.findall(text)


def _bare(place: str) -> str:
    """A listen address without its role."""
    word, colon, rest = place.partition(":")
    return rest if colon and word.isalpha() and ":" in rest else place


def plan_remove_services(site: Site, filesystem: Filesystem) -> list[Change]:
    """Actions after which no service file of the installation is left, of whatever service manager."""
    found: list[Change] = []
    for entry in load_services(site, filesystem):
        options = ServiceOptions(entry.options, tuple(SERVICES))
        pieces = compose(MANAGERS[entry.manager], site, options, entry.services, installed=False)
        found += plan_removal(site, filesystem, entry, pieces)
    return found
