"""The record of the services in run/status, written by the supervisor for other programs.

Source: eqmail_core/service/status.py.
"""

import os

from eqmail_core.service.status import FILE, ServiceStatus, parse_status, render_status
from eqmail_core.site.site import Site
from eqmail_core.system.files import read_file, write_all


def write_record(site: Site, services: list[ServiceStatus]) -> None:
    """Replace the record as a whole.

    It need not survive a crash of the system, and a full disk stops no service.
    """
    path = f"{site.run}/{FILE}"
    try:
        fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            write_all(fd, render_status(services))
        finally:
            os.close(fd)
        os.rename(f"{path}.new", path)
    except OSError:
        pass


def read_record(site: Site) -> list[ServiceStatus]:
    """Read the record; it is valid only while a supervisor runs.

    Fails: OSError; ValueError for an invalid record.
    """
    return parse_status(read_file(f"{site.run}/{FILE}") or b"")
