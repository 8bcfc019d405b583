"""What a command has to know before it works on an installation: is it there, whole, and the caller's to change."""

import os
from typing import NamedTuple

from eqmail_core.site.site import Site
from eqmail_core.site.site_file import SITE_FILE
from eqmail_setup.errors import EqmailError, usage_error
from eqmail_setup.installation.accounts import missing_accounts
from eqmail_setup.installation.build_config import BuildOptions
from eqmail_setup.installation.trust import demand_trusted

# A Unix socket's address has 108 bytes on Linux and 104 elsewhere; the longest one of ours is run/remote-99.sock.
MAX_HOME_LENGTH = 104 - len("/run/remote-99.sock") - 1


class LoadedInstallation(NamedTuple):
    """An installation and what is now chosen for it; `before` is what it was, None where there was none."""

    site: Site
    before: Site | None
    options: BuildOptions


def require_accounts(site: Site) -> None:
    """Refuse to go on without the accounts of an installation.

    Fails: Refusal with the names that are missing.
    """
    missing = [] if site.single_user else missing_accounts(site.accounts)
    if missing:
        raise EqmailError(f"accounts do not exist: {', '.join(missing)}", hint=("eqmail", "mkusers"))


def demand_own(site: Site) -> None:
    """Refuse an installation whose programs, or the choice of its accounts, others could replace.

    Fails: Refusal.
    """
    demand_trusted([site.home, f"{site.home}/{SITE_FILE}", site.bin], "the programs that run there")


def require_short_path(home: str) -> None:
    """Refuse a home whose socket paths are too long to connect to.

    Fails: Refusal (wrong usage).
    """
    length = len(os.fsencode(home))
    if length > MAX_HOME_LENGTH:
        raise usage_error(f"{home}: {length} bytes are too long for the sockets in it; at most {MAX_HOME_LENGTH}")
