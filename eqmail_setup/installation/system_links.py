"""Links by which every user finds the installation at the default place: the command, and the manual pages.

Only what is missing, or leads nowhere any more, is linked; another program of that name stays.

Fails: OSError.
"""

import os
from collections.abc import Iterator

from eqmail_core.site.layout import DEFAULT_HOME
from eqmail_core.site.site import Site
from eqmail_setup.errors import Severity
from eqmail_setup.installation.manifest_nodes import PathKind, Permissions
from eqmail_setup.installation.manual_pages import packaged_pages
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.operations import CreateNode, CreateSymlink
from eqmail_setup.transaction.plan import Change

COMMAND_LINK = "/usr/local/bin/eqmail"
MAILERS = ("/usr/sbin/sendmail", "/usr/lib/sendmail")
"""By which names cron, PHP and other programs send mail."""

MANUALS = "/usr/local/share/man"


def plan_system_links(site: Site, filesystem: Filesystem, as_mailer: bool = False) -> Iterator[Change]:
    """Actions after which `eqmail` and `man eqmail` work for every user of the host.

    `as_mailer`: programs of the host shall send mail by it, too; a program of another mail server stays, with a note.
    """
    if site.home != DEFAULT_HOME or site.single_user or os.geteuid() != 0:
        return
    yield from _plan_link(COMMAND_LINK, f"{site.bin}/eqmail", filesystem)
    for path in MAILERS if as_mailer else ():
        yield from _plan_link(path, f"{site.bin}/sendmail", filesystem)
        if os.path.exists(path) and os.path.realpath(path) != os.path.realpath(f"{site.bin}/sendmail"):
            expected = f"as it is; for this server: ln -sf {site.bin}/sendmail {path}"
            yield Change(path, "of another mail server", expected, severity=Severity.WARNING)
    if not os.path.isdir(MANUALS):
        return
    sections: set[str] = set()
    for path, _ in packaged_pages():
        folder = f"{MANUALS}/{path.partition('/')[0]}"
        if folder not in sections and filesystem.stat(folder) is None:
            node = CreateNode(folder, PathKind.DIRECTORY, Permissions("root", "root", 0o755))
            yield Change(folder, "missing", "directory", node)
        sections.add(folder)
        yield from _plan_link(f"{MANUALS}/{path}", f"{site.home}/man/{path}", filesystem)


def _plan_link(path: str, target: str, filesystem: Filesystem) -> Iterator[Change]:
    if not os.path.isdir(os.path.dirname(os.path.dirname(path))) or os.path.exists(path):
        return
    if os.path.lexists(path) and filesystem.read_link(path) == target:
        return
    yield Change(path, "missing", f"link to {target}", CreateSymlink(path, target))


def installed_links(site: Site) -> Iterator[str]:
    """The links of the system that lead to this installation."""
    targets = {COMMAND_LINK: f"{site.bin}/eqmail"} | dict.fromkeys(MAILERS, f"{site.bin}/sendmail")
    targets |= {f"{MANUALS}/{path}": f"{site.home}/man/{path}" for path, _ in packaged_pages()}
    for path, target in targets.items():
        if os.path.islink(path) and os.readlink(path) == target:
            yield path
