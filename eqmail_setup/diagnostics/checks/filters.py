"""What the doctor asks of filters: whether there is a milter at each address, and a check under each name.

Fails: never; what cannot be reached is a finding.
"""

import socket
from collections.abc import Iterator
from importlib.metadata import entry_points

from eqmail_core.control.controls import Controls
from eqmail_core.control.filter_entries import FilterEntry, milter_address
from eqmail_core.filters.api import GROUP
from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_controls
from eqmail_setup.diagnostics.finding import ERROR, Finding

_TIMEOUT_S = 5.0


def check_filters(site: Site) -> Iterator[Finding]:
    """Whether every filter that the settings name can be asked."""
    controls = read_controls(site)
    for entry in controls.milters or ():
        yield from _milter(f"{site.control}/{Controls.milters.file}", entry)
    for entry in controls.smtpchecks or ():
        name = entry.name.decode("utf-8", "replace")
        if not entry_points(group=GROUP, name=name):
            fact = f"{site.control}/{Controls.smtpchecks.file}: {name}: no such entry point in the group {GROUP}"
            yield Finding("filters.check", ERROR, fact, "install its distribution beside eqmail, or take the line out")


def _milter(path: str, entry: FilterEntry) -> Iterator[Finding]:
    address = milter_address(entry.name)
    if address is None:
        return  # the settings are examined elsewhere
    where, port = address
    try:
        if port:
            socket.create_connection((where, port), timeout=_TIMEOUT_S).close()
            return
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(_TIMEOUT_S)
            sock.connect(where)
    except OSError as error:
        fact = f"{path}: {entry.name.decode('latin-1')}: {error.strerror or error}"
        remedy = f"start the milter, or take its line out; until then default={entry.default.decode()} holds"
        yield Finding("filters.milter", ERROR, fact, remedy)
