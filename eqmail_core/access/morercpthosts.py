"""The lookup in morercpthosts.cdb, for `access.rcpthosts`.

Light: the database is opened, and its library imported, only for a host that is not in rcpthosts.
Source: control-files.md 2.3.
"""

import os

from eqmail_core.control.controls import Controls
from eqmail_core.outcome import TemporaryFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from eqmail_core.site.site import Site


def morercpthosts_lookup(site: "Site") -> "Callable[[list[bytes]], bool]":
    """Return a function that tests whether any of some names is in the database of a site.

    Without a database it returns False.
    The function fails: TemporaryFailure if the database cannot be read.
    """
    path = f"{site.control}/{Controls.morercpthosts_cdb.file}"

    def is_more(names: list[bytes]) -> bool:
        if not os.path.exists(path):
            return False
        from eqmail_core.access.rcpthosts_database import lists_domain

        try:
            return any(lists_domain(path, name) for name in names)
        except OSError as error:
            raise TemporaryFailure(b"unable to read controls") from error

    return is_more
