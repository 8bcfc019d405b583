"""What the supervisor records for other programs: its services in run/status, its SMTP listeners in run/listeners,
the time of the last HUP in run/reloaded.

A record is valid only while a supervisor runs.

Source: eqmail_core/service/status.py; eqmail_core/text/listen_address.py.
"""

import os

from eqmail_core.service.status import FILE, ServiceStatus, parse_status, render_status
from eqmail_core.site.site import Site
from eqmail_core.system.files import read_file, write_all

LISTENERS = "listeners"
"""Name of the record of the SMTP listeners: one listen address per line."""

RELOADED = "reloaded"
"""Name of the record whose time is that of the last HUP."""


def write_record(site: Site, services: list[ServiceStatus]) -> None:
    """Replace the record of the services as a whole."""
    _write(f"{site.run}/{FILE}", render_status(services))


def write_listeners(site: Site, addresses: list[str]) -> None:
    """Replace the record of the SMTP listeners."""
    _write(f"{site.run}/{LISTENERS}", "".join(f"{address}\n" for address in addresses).encode())


def write_reload(site: Site) -> None:
    """Record that the services were told to read their settings now."""
    _write(f"{site.run}/{RELOADED}", b"")


def last_reload(site: Site) -> float:
    """When the services were told to read their settings last, in seconds since the epoch; 0 for never."""
    try:
        return os.stat(f"{site.run}/{RELOADED}").st_mtime
    except OSError:
        return 0.0


def _write(path: str, content: bytes) -> None:
    """Replace a record; it need not survive a crash of the system, and a full disk stops no service."""
    try:
        fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            write_all(fd, content)
        finally:
            os.close(fd)
        os.rename(f"{path}.new", path)
    except OSError:
        pass


def read_record(site: Site) -> list[ServiceStatus]:
    """Read the record of the services.

    Fails: OSError; ValueError for an invalid record.
    """
    return parse_status(read_file(f"{site.run}/{FILE}") or b"")


def read_listeners(site: Site) -> list[str]:
    """Read the listen addresses of the SMTP service.  Fails: OSError."""
    return (read_file(f"{site.run}/{LISTENERS}") or b"").decode("utf-8", "replace").splitlines()
