"""What the DNS records of a domain depend on, gathered from an installation.

Fails: EqmailError where the host has no name yet.
"""

import os
import socket

from eqmail_core.service.record import read_listeners
from eqmail_core.site.site import Site
from eqmail_core.system.files import read_file
from eqmail_core.system.installation import read_controls
from eqmail_core.text.listen_address import parse_listen_address
from eqmail_setup.errors import EqmailError
from eqmail_setup.mail import certificates, dkim
from eqmail_setup.network.records import RecordContext, public_address
from eqmail_setup.services.control import files_of
from eqmail_setup.services.state import load_services
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem


def record_context(site: Site, domain: str = "", host: str = "") -> RecordContext:
    """The context of a domain; without one, of the host itself."""
    me = host or os.fsdecode(read_controls(site).me or b"")
    if not me:
        raise EqmailError(f"{site.control}/me: the name of this host is not set")
    name = (domain or me).lower()
    return RecordContext(
        domain=name,
        host=me.lower(),
        ipv4=public_address(socket.AF_INET),
        ipv6=public_address(socket.AF_INET6),
        ports=submission_ports(site),
        tlsa=_tlsa(site),
        dkim=tuple(dkim.records(site, DiskFilesystem(site.home), name)),
    )


def submission_ports(site: Site) -> dict[str, int]:
    """The ports of the services that people log in to, by SRV name: of the running ones, else of the service files."""
    found: dict[str, int] = {}
    for address in _listen_addresses(site):
        at = parse_listen_address(address)
        if at is not None and at.role.needs_login:
            found.setdefault("submissions" if at.role.is_tls else "submission", at.port)
    return dict(sorted(found.items(), reverse=True))


def _listen_addresses(site: Site) -> list[str]:
    try:
        running = read_listeners(site)
    except OSError:
        running = []
    if running:
        return running
    found = [os.fsdecode(line) for line in read_controls(site).smtplisten or []]
    for installed in load_services(site, DiskFilesystem(site.home)):
        for piece in files_of(site, installed):
            for sock in piece.values.sockets:
                found += [f"{sock.role}:{address}" if sock.role else address for address in sock.addresses]
    return list(dict.fromkeys(found))


def _tlsa(site: Site) -> str:
    content = read_file(f"{site.home}/{certificates.path_in(site)}") if _readable(site) else None
    try:
        return certificates.read(content).tlsa if content else ""
    except ValueError:
        return ""


def _readable(site: Site) -> bool:
    return os.access(f"{site.home}/{certificates.path_in(site)}", os.R_OK)
