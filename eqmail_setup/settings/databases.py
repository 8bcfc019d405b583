"""The databases that are compiled from texts, and the actions that bring each up to date.

What counts is the content: a text that was only touched makes no database stale.

Fails: OSError.
"""

from collections.abc import Callable, Iterator
from functools import partial

from eqmail_core.access.rcpthosts_database import domain_records
from eqmail_core.control.controls import Controls
from eqmail_core.site.site import Site
from eqmail_core.tcpserver.rules import BadRule, database_records
from eqmail_core.users.assign_file import BadAssign
from eqmail_core.users.database import assign_path, database_path
from eqmail_setup.errors import EqmailError, Severity
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.manifest import OwnershipPolicy
from eqmail_setup.installation.manifest_nodes import PathKind
from eqmail_setup.mail.assign_file import compile_assign, require_entries
from eqmail_setup.settings.cdb import database_bytes
from eqmail_setup.transaction.filesystem import Filesystem, snapshot
from eqmail_setup.transaction.operations import WriteFile
from eqmail_setup.transaction.plan import Change

TCP_RULES = Controls.tcprules_cdb.file.removesuffix(".cdb")
"""The text of the rules for clients of the SMTP service, beside their database."""


def plan_databases(site: Site, filesystem: Filesystem) -> Iterator[Change]:
    """Actions after which no database is older than its text."""
    control = site.layout.control
    users = assign_path(site).removeprefix(f"{site.home}/"), database_path(site).removeprefix(f"{site.home}/")
    yield from _plan_database(site, filesystem, *users, partial(_users, filesystem.display_path(users[0])))
    for text, database, make in (
        (Controls.morercpthosts.file, Controls.morercpthosts_cdb.file, _domains),
        (TCP_RULES, Controls.tcprules_cdb.file, partial(rules_bytes, f"{site.control}/{TCP_RULES}")),
    ):
        yield from _plan_database(site, filesystem, f"{control}/{text}", f"{control}/{database}", make)


def _plan_database(
    site: Site, filesystem: Filesystem, text: str, path: str, make: Callable[[bytes], bytes]
) -> Iterator[Change]:
    state, old = snapshot(text, filesystem), snapshot(path, filesystem)
    show = filesystem.display_path(path)
    if state is None:
        if old is not None:
            expected = f"restored: {filesystem.display_path(path)} was made of it and cannot be changed without it"
            yield Change(filesystem.display_path(text), "missing", expected, severity=Severity.INFO)
        return
    try:
        content = make(state.content)
    except EqmailError as refusal:
        where, _, found = refusal.text.partition(": ")
        found, _, expected = found.rpartition("; ")
        yield Change(where, found, f"corrected: {expected}")
        return
    if old is None or old.content != content:
        permissions = (
            old.permissions if old and old.kind == PathKind.FILE else OwnershipPolicy(site, caller())("owner", 0o644)
        )
        found = "not what its text says" if old else "missing"
        yield Change(show, found, f"made of {filesystem.display_path(text)}", WriteFile(path, content, permissions))


def _users(path: str, text: bytes) -> bytes:
    try:
        return compile_assign(text)
    except BadAssign as bad:
        raise require_entries(path, text, bad) from bad


def _domains(text: bytes) -> bytes:
    return database_bytes(domain_records(text))


def rules_bytes(path: str, text: bytes) -> bytes:
    """The database of rules for clients.

    Fails: Refusal with the line that is no rule.
    """
    try:
        return database_bytes(database_records(text.splitlines(keepends=True)))
    except BadRule as bad:
        line = bad.line.decode("utf-8", "replace")
        raise EqmailError(f"{path}: {line!r} is no rule; write ADDRESS:allow or ADDRESS:deny") from bad
