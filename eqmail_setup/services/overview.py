"""The installed services: what runs them, where they listen, whether they do.

Fails: EqmailError where no service files are installed.
"""

from typing import NamedTuple

from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError
from eqmail_setup.network.listeners import listeners
from eqmail_setup.services.control import files_of
from eqmail_setup.services.definitions import MTA
from eqmail_setup.services.managers import ServiceFile
from eqmail_setup.services.state import InstalledServices, installed_services
from eqmail_setup.settings.reload import running_pid
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem

RUNNING, LISTENING, STOPPED = "running", "listening", "stopped"


class ServiceState(NamedTuple):
    """One service: its manager, the addresses it listens on, and its state."""

    service: str
    manager: str
    listeners: tuple[str, ...]
    state: str


Installed = tuple[InstalledServices, list[ServiceFile]]


def find_installed(site: Site, manager: str | None = None) -> list[Installed]:
    """The installed services, of one manager or of all, with their files."""
    entries = installed_services(site, DiskFilesystem(site.home))
    found = [(entry, files_of(site, entry)) for entry in entries if manager in (None, entry.manager)]
    if not found:
        what = f"no service files of {manager}" if manager else "no service files"
        raise EqmailError(f"{site.home}: {what} are installed", hint=("eqmail", "service", "install"))
    return found


def find_mta(site: Site) -> Installed:
    """The installed services with the MTA, which has the log."""
    found = find_installed(site)
    return next((item for item in found if MTA in item[0].services), found[0])


def service_states(site: Site) -> list[ServiceState]:
    """The state of every installed service."""
    open_ports = {one.port for one in listeners()}
    pid, rows = running_pid(site), []
    for entry, pieces in find_installed(site):
        places = {sock.service: tuple(sock.addresses) for piece in pieces for sock in piece.values.sockets}
        for name in entry.services:
            at = places.get(name, ())
            is_open = {int(address.rpartition(":")[2]) for address in at} <= open_ports
            runs = bool(pid) if name == MTA else is_open
            state = (RUNNING if name == MTA else LISTENING) if runs else STOPPED
            rows.append(ServiceState(name, entry.manager, at if name != MTA else (), state))
    return rows
