"""What keeps a new server from running, found before anything is changed; each with its remedy.

Fails: Refusal, that is what it is for.
"""

import os
from collections.abc import Iterable

from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError, permission_required
from eqmail_setup.installation.accounts import missing_accounts
from eqmail_setup.installation.runtime_access import unreadable_paths
from eqmail_setup.mail.aliases import alias_folder
from eqmail_setup.network.listeners import Listener, descendants, holder_of, listeners
from eqmail_setup.quickstart.plan import ServiceBundle
from eqmail_setup.settings.reload import running_pid


def require_root() -> None:
    """Refuse a caller that cannot give files to other accounts."""
    if os.geteuid() != 0:
        raise permission_required(
            "quickstart needs root, because it makes accounts and services; without root: eqmail demo shows all of "
            "it at work, --dry-run says what it would do, --root DIR stages it"
        )


def require_readable_python() -> None:
    """Refuse an interpreter that the services could not run."""
    for item in unreadable_paths():
        raise EqmailError(f"{item.path}: {item.found}; {item.expected}")


def require_alias_home(site: Site) -> None:
    """Refuse an account of the aliases that lives elsewhere: its .qmail files would not be found here."""
    if site.accounts.user("alias") in missing_accounts(site.accounts):
        return
    for item in alias_folder(site):
        raise EqmailError(f"{item.path}: {item.found}, should be {item.expected}")


def addresses_of(bundles: Iterable[ServiceBundle]) -> list[tuple[str, str, int]]:
    """Where the services listen: each service with host and port."""
    found: dict[tuple[str, str, int], None] = {}
    for bundle in bundles:
        for piece in bundle.pieces:
            for socket in piece.values.sockets:
                for address in socket.addresses:
                    host, _, port = address.rpartition(":")
                    found[socket.service, host.strip("[]"), int(port)] = None
    return list(found)


def require_free_ports(site: Site, bundles: Iterable[ServiceBundle]) -> None:
    """Refuse ports where another process listens, and name that process."""
    own = descendants(running_pid(site)) if running_pid(site) else set()
    for service, host, port in addresses_of(bundles):
        if not holder_of(host, port):
            continue
        holders = [listener for listener in listeners() if listener.port == port]
        if any(set(listener.pids) & own for listener in holders):
            continue
        raise EqmailError(
            f"port {port} for {service} is taken by {_describe_holders(holders)}; "
            "stop that and keep it from starting again, or "
            f"choose another port: --set {service}.port=NUMBER"
        )


def _describe_holders(holders: list[Listener]) -> str:
    return " and ".join(dict.fromkeys(listener.describe() for listener in holders)) or "another program"
