"""The configuration of Dovecot for the mailboxes and credentials of an installation, and its list of mailboxes.

users/dovecot has a line for each mailbox, in the form of a passwd file; Dovecot reads it anew when it changes. The
passwords stay in users/smtpauth alone. Once the list is there, every change of a mailbox changes its line too.

Fails: EqmailError.
Source: the Maildir++ description of Courier; tests/interop/test_dovecot_mailboxes.py has the real Dovecot.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable

from eqmail_core.auth.secrets_file import FILE as SECRETS
from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.managed_file import Origin, origin_of, with_checksum
from eqmail_setup.installation.manifest import OwnershipPolicy
from eqmail_setup.mail import certificates
from eqmail_setup.mail.users import default_maildir
from eqmail_setup.templating import render
from eqmail_setup.transaction.filesystem import Filesystem, snapshot
from eqmail_setup.transaction.operations import WriteFile
from eqmail_setup.transaction.plan import Change

USERS = "dovecot"
"""Name of the list of mailboxes, below users."""

CONFIG = "/etc/dovecot/dovecot.conf"
CONFIG_MODE = 0o644
_SUPPORTED = "2.3."
_PACKAGES = ("apt-get", "install", "dovecot-imapd", "dovecot-pop3d", "dovecot-lmtpd")


def installed_version() -> str:
    """The version of Dovecot; "" where it is not installed."""
    program = shutil.which("dovecot", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    if program is None:
        return ""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.split()[0] if done.stdout.split() else ""


def require_supported(version: str) -> None:
    """Refuse a Dovecot that is missing, or whose configuration has another syntax."""
    if not version:
        raise EqmailError("dovecot: not installed", hint=_PACKAGES)
    if not version.startswith(_SUPPORTED):
        raise EqmailError(f"dovecot {version}: its configuration has another syntax than that of {_SUPPORTED}x")


def config_text(site: Site, listen: str = "*, ::", maildir: str = "") -> bytes:
    """The whole configuration; `maildir`: that of accounts, if not what the settings say now."""
    return with_checksum(
        render(
            "dovecot/dovecot.conf.j2",
            home=site.home,
            listen=listen,
            logins=f"{site.users}/{SECRETS}",
            users=f"{site.users}/{USERS}",
            certificate=f"{site.home}/{certificates.path_in(site)}",
            maildir=maildir or default_maildir(site),
        )
    )


def user_line(address: str, ids: tuple[int, int], home: str, maildir: str, quota_bytes: int) -> bytes:
    """The line of a mailbox."""
    extra = f"userdb_mail=maildir:{maildir}"
    if quota_bytes:
        extra += f" userdb_quota_rule=*:bytes={quota_bytes}"
    return os.fsencode(f"{address}::{ids[0]}:{ids[1]}::{home}::{extra}\n")


def plan_users(site: Site, filesystem: Filesystem, lines: Iterable[bytes]) -> list[Change]:
    """What has to be done so that the list has these lines."""
    path = f"{site.layout.users}/{USERS}"
    state, content = snapshot(path, filesystem), b"".join(sorted(lines))
    if state is not None and state.content == content:
        return []
    write = WriteFile(path, content, OwnershipPolicy(site, caller())("owner", CONFIG_MODE))
    return [Change(filesystem.display_path(path), "other mailboxes" if state else "missing", "these", write)]


def plan_user(site: Site, filesystem: Filesystem, address: str, line: bytes) -> list[Change]:
    """What has to be done so that the list, where there is one, has this line of a mailbox; b"" for none."""
    state = snapshot(f"{site.layout.users}/{USERS}", filesystem)
    if state is None:
        return []
    key = os.fsencode(f"{address}:")
    kept = [old for old in state.content.splitlines(keepends=True) if not old.startswith(key)]
    return plan_users(site, filesystem, [*kept, line])


def plan_config(
    site: Site, filesystem: Filesystem, path: str, listen: str, replaces: bool, maildir: str = ""
) -> list[Change]:
    """What has to be done so that Dovecot has this configuration; another one is kept beside it with `replaces`."""
    content, state = config_text(site, listen, maildir), snapshot(path, filesystem)
    if state is not None and state.content == content:
        return []
    is_ours = state is not None and origin_of(state.content) is Origin.MANAGED
    if state is not None and not is_ours and not replaces:
        raise EqmailError(f"{path}: is another configuration; --replace keeps it as {path}.before-eqmail")
    permissions = OwnershipPolicy(site, caller())("owner", CONFIG_MODE)
    write = WriteFile(path, content, permissions, keeps_backup=state is not None and not is_ours)
    return [Change(filesystem.display_path(path), "another configuration" if state else "missing", "this one", write)]


def require_certificate(site: Site, filesystem: Filesystem) -> None:
    """Refuse an installation without a certificate: passwords are accepted under TLS only."""
    if filesystem.stat(certificates.path_in(site)) is None:
        raise EqmailError(f"{site.home}/{certificates.path_in(site)}: missing", hint=("eqmail", "cert", "make"))
