"""The commands that start and restart the services of an installation, for hints that run when pasted."""

from eqmail_core.site.site import Site
from eqmail_setup.errors import Command, EqmailError
from eqmail_setup.services.state import load_services
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem

RUN = ("eqmail", "run")


def start_command(site: Site) -> Command:
    """What starts the services: their service manager, or the foreground where none has their files."""
    return ("eqmail", "service", "start") if _has_service_files(site) else RUN


def restart_command(site: Site) -> "Command | str":
    """What restarts the services."""
    if _has_service_files(site):
        return ("eqmail", "service", "restart")
    return "stop qmail-start with TERM and start it again; its log says why it failed"


def _has_service_files(site: Site) -> bool:
    try:
        return bool(load_services(site, DiskFilesystem(site.home)))
    except EqmailError:
        return False
