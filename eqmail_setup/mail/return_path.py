"""The secrets that make senders of SRS and of BATV: made, replaced and removed.

Fails: EqmailError.
"""

import os
from typing import NamedTuple

from eqmail_core.control.controls import Controls
from eqmail_core.site.site import Site
from eqmail_core.text.lines import non_empty_lines
from eqmail_setup.errors import EqmailError
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.manifest import OwnershipPolicy
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.operations import RemoveFile, WriteFile
from eqmail_setup.transaction.plan import Change

SECRET_BYTES = 24
MAX_SECRETS = 3
"""Secrets that are kept: the current one, and older ones whose addresses still count."""


class SenderScheme(NamedTuple):
    """A way to rewrite senders: its name in commands, its title, and the control file with its secrets."""

    name: str
    title: str
    file: str


SRS = SenderScheme("srs", "SRS", Controls.srssecrets.file)
BATV = SenderScheme("batv", "BATV", Controls.batvsecrets.file)


def plan_on(site: Site, filesystem: Filesystem, scheme: SenderScheme) -> list[Change]:
    """Actions after which there is a secret; none where there is one."""
    return [] if _secrets(site, filesystem, scheme) else [_write(site, filesystem, scheme, [_new_secret()])]


def plan_rotate(site: Site, filesystem: Filesystem, scheme: SenderScheme) -> list[Change]:
    """Actions after which a new secret is the current one; the last of the old ones still count."""
    known = _secrets(site, filesystem, scheme)
    if not known:
        raise EqmailError(f"{scheme.title} is off; turn it on: eqmail {scheme.name} on")
    return [_write(site, filesystem, scheme, [_new_secret(), *known][:MAX_SECRETS])]


def plan_off(site: Site, filesystem: Filesystem, scheme: SenderScheme) -> list[Change]:
    """Actions after which there is no secret: senders leave as they are, and bounces to rewritten ones are lost."""
    path = _path(site, scheme)
    if filesystem.stat(path) is None:
        return []
    return [Change(filesystem.display_path(path), "secrets", "removed", RemoveFile(path))]


def _secrets(site: Site, filesystem: Filesystem, scheme: SenderScheme) -> list[bytes]:
    path = _path(site, scheme)
    return [] if filesystem.stat(path) is None else non_empty_lines(filesystem.read(path))


def _write(site: Site, filesystem: Filesystem, scheme: SenderScheme, secrets: list[bytes]) -> Change:
    path = _path(site, scheme)
    # The SMTP server reads it as its owner, the remote service by its group; no other account is in that group.
    permissions = OwnershipPolicy(site, caller())("qmaild", 0o440)
    content = b"".join(secret + b"\n" for secret in secrets)
    return Change(filesystem.display_path(path), "", "", WriteFile(path, content, permissions))


def _path(site: Site, scheme: SenderScheme) -> str:
    return f"{site.layout.control}/{scheme.file}"


def _new_secret() -> bytes:
    return os.urandom(SECRET_BYTES).hex().encode()
