"""All that a new server consists of, as one plan made of those of the single commands.

What exists stays as an administrator has it: settings are written where they are missing, and nowhere else.

Fails: Refusal for a target that cannot get mail.
"""

import pwd
import tempfile
import time
from collections.abc import Iterator
from typing import NamedTuple

from eqmail_core.control.controls import Controls
from eqmail_core.control.delivery_settings import DSN
from eqmail_core.control.filter_settings import MARK
from eqmail_core.site.site import Site
from eqmail_core.system.files import read_file
from eqmail_core.tcpserver.rules_database import compile_rules
from eqmail_setup.errors import EqmailError, usage_error
from eqmail_setup.installation.accounts import caller, group_name
from eqmail_setup.installation.manifest import OwnershipPolicy, installation_manifest
from eqmail_setup.installation.manifest_nodes import PathKind, Permissions
from eqmail_setup.mail import certificates as keys
from eqmail_setup.mail import credentials as smtp_logins
from eqmail_setup.mail import dkim
from eqmail_setup.mail.aliases import plan_required_aliases
from eqmail_setup.mail.domains import plan_add
from eqmail_setup.mail.users import PARTS, within
from eqmail_setup.quickstart.imap import plan_imap
from eqmail_setup.services.activation import plan_links
from eqmail_setup.services.managers import ServiceFile, ServiceManager
from eqmail_setup.services.manifest import in_place
from eqmail_setup.services.state import InstalledServices, plan_records
from eqmail_setup.settings.editor import path_of, plan_write
from eqmail_setup.settings.initial import plan_initial_settings
from eqmail_setup.templating import render
from eqmail_setup.transaction.filesystem import Filesystem, snapshot
from eqmail_setup.transaction.operations import CreateNode, WriteFile
from eqmail_setup.transaction.plan import Change, compare_with_manifest

MAILDIR = "./Maildir/"
RULES = Controls.tcprules_cdb.file.removesuffix(".cdb")
"""The text of the rules beside the database that is made of it."""


class ServiceBundle(NamedTuple):
    """The service files of one manager, with the record of them."""

    manager: ServiceManager
    pieces: list[ServiceFile]
    record: InstalledServices


class QuickstartPlan(NamedTuple):
    """What the newcomer wants: this installation, this host name, mail for root to go there, and these services.

    `domain` is accepted and delivered like the host, "" for none; `imap` names the server with which people read it.
    `target` is the line of .qmail-root, `maildir` a required Maildir, `dress` its owner and mode.
    """

    site: Site
    name: str
    target: str
    maildir: str
    permissions: Permissions
    bundles: tuple[ServiceBundle, ...]
    staged: bool = False
    domain: str = ""
    imap: str = ""


def destination(site: Site, to: str) -> tuple[str, str, Permissions]:
    """Where mail for root goes: the line of its alias, the Maildir that this needs, "" for none, and its dress.

    Fails: Refusal (wrong usage) for an account that does not exist, or gets no mail.
    """
    permissions = OwnershipPolicy(site, caller())("alias", 0o700)
    if not to:
        return MAILDIR, f"{site.layout.alias}/Maildir", permissions
    if "@" in to:
        return f"&{to}", "", permissions
    try:
        account = pwd.getpwnam(to)
    except KeyError:
        raise usage_error(f"--to {to}: there is no such account; name one, give an address, or leave it out") from None
    if account.pw_uid == 0:
        raise usage_error(f"--to {to}: root receives no mail; name another user or omit --to")
    home = account.pw_dir.rstrip("/")
    return f"&{to}", f"{home}/Maildir", Permissions(to, group_name(account.pw_gid), 0o700)


def settings_for(site: Site, starts_programs: bool) -> Iterator[tuple[str, bytes]]:
    """What a server of today wants and C has not on by default: control files with their contents.

    `starts_programs`: connections come in where a program is started for each.
    """
    yield Controls.defaultdelivery.file, f"{MAILDIR}\n".encode()
    yield Controls.rcptcheck.file, b"*\n"
    yield Controls.enhancedstatus.file, b"1\n"
    yield Controls.chunking.file, b"1\n"
    yield Controls.bounceformat.file, DSN + b"\n"
    yield Controls.authcheck.file, MARK + b"\n"
    yield Controls.smtpcheckpw.file, f"{site.bin}/qmail-chkpw\n".encode()
    yield Controls.smtpauthfailures.file, b"10\n"
    yield Controls.smtpperaddress.file, b"50\n"
    yield Controls.smtpmaxerrors.file, b"20\n"
    yield Controls.smtpmaxcommands.file, b"100\n"
    if starts_programs:
        yield Controls.smtphandover.file, b"1\n"


def plan_changes(expected: QuickstartPlan, filesystem: Filesystem) -> list[Change]:
    """The actions, folders before their content."""
    site = expected.site
    found = compare_with_manifest(installation_manifest(site, caller(), expected.staged), filesystem)
    made = {item.operation.path for item in found if isinstance(item.operation, CreateNode)}
    for _, action in plan_initial_settings(site, expected.name, filesystem):
        if action and not (isinstance(action, CreateNode) and action.path in made):
            found.append(Change(site.home, "", "", action))
    found += _domain(expected, filesystem)
    found += _settings(expected, filesystem)
    found += _mailbox(expected, filesystem)
    found += plan_required_aliases(site, filesystem, expected.target, checked=False)
    found += smtp_logins.plan_secrets_file(site, filesystem)
    if snapshot(keys.path_in(site), filesystem) is None:
        found += keys.plan_new_certificate(site, filesystem, (expected.name,), keys.ECDSA, keys.DEFAULT_DAYS, False)
    keys_of_domains: list[Change] = []
    signed = dkim.signing_domains(site, filesystem)
    for name in dict.fromkeys((expected.name, expected.domain)):
        if name and name not in signed and (name == expected.domain or not signed):
            keys_of_domains += dkim.plan_generate(site, filesystem, name, time.time())
    # The keys of two domains share a folder.
    found += dict.fromkeys(keys_of_domains)
    found += plan_service_changes(expected, filesystem)
    found += _imap(expected, filesystem) if expected.imap else []
    return found + plan_records(site, filesystem, [bundle.record for bundle in expected.bundles])


def _domain(expected: QuickstartPlan, filesystem: Filesystem) -> list[Change]:
    """The domain beside the host, in the lists that are made now, or in those that are there."""
    site, name = expected.site, expected.domain
    lists = (Controls.locals, Controls.rcpthosts)
    if not name or name == expected.name:
        return []
    if all(snapshot(path_of(site, control), filesystem) is None for control in lists):
        content = f"{expected.name}\n{name}\n".encode()
        return [change for control in lists for change in plan_write(site, filesystem, control, content)]
    return plan_add(site, filesystem, name, None, False, False)


def _imap(expected: QuickstartPlan, filesystem: Filesystem) -> list[Change]:
    is_new = snapshot(path_of(expected.site, Controls.defaultdelivery), filesystem) is None
    return plan_imap(expected.site, filesystem, MAILDIR.strip("./") if is_new else "")


def plan_service_changes(expected: QuickstartPlan, filesystem: Filesystem) -> list[Change]:
    """The actions on service files."""
    found: list[Change] = []
    for bundle in expected.bundles:
        found += compare_with_manifest(in_place(bundle.pieces, "", expected.site, filesystem), filesystem)
        found += [] if expected.staged else plan_links(bundle.manager, bundle.pieces, filesystem)
    return found


def _settings(expected: QuickstartPlan, filesystem: Filesystem) -> Iterator[Change]:
    site = expected.site
    declared = {control.file: control for control in Controls.declared().values()}
    for file, content in settings_for(site, any(not share.manager.listeners for share in expected.bundles)):
        if snapshot(path_of(site, declared[file]), filesystem) is None:
            yield from plan_write(site, filesystem, declared[file], content)
    text, database = f"{site.layout.control}/{RULES}", path_of(site, Controls.tcprules_cdb)
    if snapshot(text, filesystem) is None and snapshot(database, filesystem) is None:
        rules, permissions = (
            render("control/tcprules.j2", home=site.home, file=RULES),
            OwnershipPolicy(site, caller())("owner", 0o644),
        )
        yield Change(filesystem.display_path(text), "missing", "rules for clients", WriteFile(text, rules, permissions))
        yield Change(
            filesystem.display_path(database),
            "missing",
            "made of it",
            WriteFile(database, _compiled(rules), permissions),
        )


def _compiled(rules: bytes) -> bytes:
    with tempfile.TemporaryDirectory(prefix="eqmail-") as folder:
        compile_rules(f"{folder}/cdb", f"{folder}/tmp", rules.splitlines(keepends=True))
        return read_file(f"{folder}/cdb") or b""


def _mailbox(expected: QuickstartPlan, filesystem: Filesystem) -> Iterator[Change]:
    if not expected.maildir:
        return
    maildir = within(expected.site, expected.maildir)
    home = maildir.rpartition("/")[0]
    if home != expected.site.layout.alias and filesystem.stat(home) is None:
        raise EqmailError(f"{home}: missing, and {expected.permissions.owner} lives there; make it first")
    for part in PARTS:
        path = f"{maildir}{part}"
        seen = filesystem.stat(path)
        if seen is None:
            yield Change(
                filesystem.display_path(path),
                "missing",
                "a Maildir",
                CreateNode(path, PathKind.DIRECTORY, expected.permissions),
            )
        elif seen.kind != PathKind.DIRECTORY:
            raise EqmailError(f"{filesystem.display_path(path)}: {seen.kind}, should be a Maildir; move it away")
