"""Everything that `eqmail check` looks at: each difference between an installation and what it should be.

`eqmail check --fix` repairs a difference with an action; one without an action names what the administrator has to do.

Fails: OSError where the caller may not look; Refusal for accounts that contradict the installation.
"""

import shlex
from collections.abc import Iterator

from eqmail_core.control.controls import Controls
from eqmail_core.site.site import Site
from eqmail_setup.diagnostics.checks.journal import check_journal
from eqmail_setup.diagnostics.checks.old_programs import old_ways
from eqmail_setup.diagnostics.checks.settings import OPEN_KEY, check_certificates
from eqmail_setup.diagnostics.finding import Finding, severity_of_change
from eqmail_setup.errors import Severity
from eqmail_setup.installation.accounts import caller, missing_accounts
from eqmail_setup.installation.manifest import installation_manifest
from eqmail_setup.installation.manifest_nodes import PathKind
from eqmail_setup.installation.runtime_access import is_accessible
from eqmail_setup.installation.staging import final_site, is_staged
from eqmail_setup.mail.aliases import alias_folder, examined
from eqmail_setup.queue import repair as queue_mending
from eqmail_setup.settings import databases
from eqmail_setup.settings.editor import plan_secret_files
from eqmail_setup.settings.validation import SettingProblem, check_settings
from eqmail_setup.transaction.filesystem import Filesystem, snapshot
from eqmail_setup.transaction.operations import SetPermissions, WriteFile
from eqmail_setup.transaction.plan import Change, compare_with_manifest

_BY_DATABASES = {Controls.morercpthosts_cdb.file}


def check_installation(site: Site, filesystem: Filesystem) -> Iterator[Change]:
    """Every difference, accounts first, because everything else belongs to them.

    Below a staging root accounts, packages and interpreter of this machine do not count.
    """
    staged = is_staged(site)
    missing = [] if site.single_user or staged else missing_accounts(site.accounts)
    for name in missing:
        yield Change(name, "no such account", "created: eqmail mkusers")
    yield from compare_with_manifest(installation_manifest(final_site(site), caller(), staged), filesystem)
    yield from is_accessible(site.single_user or staged)
    if not missing:
        yield from alias_folder(site)
        yield from queue_mending.plan_repair(site)
        yield from map(of_finding, check_journal(site))
    yield from databases.plan_databases(site, filesystem)
    yield from examined(site, filesystem)
    yield from (
        _change_from_problem(site, filesystem, remark)
        for remark in check_settings(site)
        if remark.file not in _BY_DATABASES
    )
    yield from plan_secret_files(site, filesystem)
    yield from (_change_from_finding(site, filesystem, finding) for finding in check_certificates(site))
    if not staged:
        yield from map(of_finding, old_ways(site, with_accounts=False))


def _change_from_problem(site: Site, filesystem: Filesystem, problem: SettingProblem) -> Change:
    place, action = f"{site.layout.control}/{problem.file}", None
    state = snapshot(place, filesystem) if problem.repaired is not None else None
    if problem.repaired is not None and state is not None and state.kind == PathKind.FILE:
        action = WriteFile(place, problem.repaired, state.permissions)
    return Change(f"{site.control}/{problem.file}", problem.found, problem.expected, action, problem.severity)


def of_finding(finding: Finding) -> Change:
    """The findings of the doctor in the form of check."""
    path, _, fact = finding.message.partition(": ")
    severities = {severity_of_change(severity): severity for severity in Severity}
    suggestion = f"corrected: {shlex.join(finding.command)}" if finding.command else finding.suggestion
    return Change(path, fact, suggestion, None, severities[finding.severity])


def _change_from_finding(site: Site, filesystem: Filesystem, finding: Finding) -> Change:
    item = of_finding(finding)
    place = item.path.removeprefix(f"{site.home}/")
    seen = filesystem.stat(place)
    is_open = finding.id == OPEN_KEY
    action = (
        SetPermissions(place, seen.permissions._replace(mode=seen.permissions.mode & 0o770))
        if is_open and seen
        else None
    )
    return item._replace(operation=action)
