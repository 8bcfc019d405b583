"""What the doctor looks at on this host: files, queue, settings, users, aliases, relaying, certificates.

Nothing is changed. Each check yields findings; a check that cannot run yields a finding about that.

Fails: OSError, where the caller may not look.
"""

import os
import shlex
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

from eqmail_core.control.controls import Controls
from eqmail_core.control.setting import ControlError
from eqmail_core.queue.admin.faults import find_faults
from eqmail_core.site.site import Site
from eqmail_core.system.files import read_file
from eqmail_core.system.installation import read_controls
from eqmail_core.tcpserver.rules_database import find_rule
from eqmail_core.users.assign_file import BadAssign
from eqmail_core.users.database import assign_path, database_path
from eqmail_setup.diagnostics.checks.journal import check_journal
from eqmail_setup.diagnostics.finding import ERROR, NOTE, WARNING, Finding, severity_of_change
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.manifest import installation_manifest
from eqmail_setup.installation.runtime_access import is_accessible
from eqmail_setup.mail.aliases import LINKED_TO_BOUNCE_CONFIG, POSTMASTER, ROOT, alias_folder, examined, file_of
from eqmail_setup.mail.assign_file import compile_assign
from eqmail_setup.mail.routing import route_address
from eqmail_setup.settings.validation import check_settings
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
from eqmail_setup.transaction.history import History
from eqmail_setup.transaction.plan import SEVERITY_WORDS, compare_with_manifest

RULES = (
    "/etc/tcp.smtp.cdb",
    "/etc/tcp.cdb",
    "{home}/etc/tcp.smtp.cdb",
    "{home}/control/tcp.smtp.cdb",
    f"{{home}}/control/{Controls.tcprules_cdb.file}",
)
"""Where rules for tcpserver usually lie, and those of the resident service."""

OPEN_KEY = "certificates.open-key"
_OUTSIDE_ADDRESS = b"198.51.100.77"
_SOON = timedelta(days=30)
_WIDEST = {4: 8, 6: 16}


def check_permissions(site: Site) -> Iterator[Finding]:
    """Owners, groups, modes and programs, as `eqmail check` sees them."""
    for item in compare_with_manifest(installation_manifest(site, caller()), DiskFilesystem(site.home)):
        kept = f"{SEVERITY_WORDS[item.severity]} {item.expected}"
        remedy = ("eqmail", "check", "--fix") if item.operation else kept
        fact = f"{item.path}: {item.found}, {SEVERITY_WORDS[item.severity]} {item.expected}"
        yield Finding("permissions.differs", severity_of_change(item.severity), fact, remedy)
    for item in is_accessible(site.single_user):
        yield Finding(
            "permissions.unreachable", severity_of_change(item.severity), f"{item.path}: {item.found}", item.expected
        )
    for run in History(site.home).interrupted():
        fact = f"run {run.number} ({run.command}) broke off"
        yield Finding("permissions.broken-run", WARNING, fact, ("eqmail", "check", "--fix"))


def check_queue(site: Site) -> Iterator[Finding]:
    """Whether every message has the files, the names, the places and the owners that it must have."""
    found = find_faults(site)
    for path in found.unknown_files:
        yield Finding("queue.stranger", WARNING, f"{path}: is no file of a queue", "move it away")
    remedy = "stop the services, then: eqmail check --fix"
    for path in found.misplaced:
        yield Finding("queue.split", ERROR, f"{path}: in the wrong folder", remedy)
    for path, inode in found.misnamed:
        yield Finding("queue.inode", ERROR, f"{path}: has the inode number {inode}", remedy)
    for path, what, expected in found.wrong_permissions:
        yield Finding("queue.owner", ERROR, f"{path}: {what}, should be {expected}", remedy)
    for number, folders in found.broken.items():
        fact = f"message {number} has files in {', '.join(sorted(folders))} only"
        remedy = "look at what is left of it, stop the services and move the files out of the queue"
        yield Finding("queue.state", ERROR, fact, remedy)
    yield from check_journal(site)


def check_setting_files(site: Site) -> Iterator[Finding]:
    """Settings that a program misreads, and settings that contradict each other."""
    is_missing = not os.path.lexists(f"{site.control}/{Controls.rcpthosts.file}")
    for problem in check_settings(site):
        if is_missing and problem.file == Controls.rcpthosts.file:
            continue  # `relaying` reports it
        fact = f"{site.control}/{problem.file}: {problem.found}"
        weight = severity_of_change(problem.severity)
        yield Finding(
            f"settings.{problem.name or problem.file}",
            weight,
            fact,
            f"{SEVERITY_WORDS[problem.severity]} {problem.expected}",
        )


def check_users(site: Site) -> Iterator[Finding]:
    """Whether the user database matches its text."""
    assign, database = read_file(assign_path(site)), read_file(database_path(site))
    if assign is None:
        if database is not None:
            remedy = "restore the file; the database cannot be changed without it"
            yield Finding("users.no-text", WARNING, f"{assign_path(site)}: missing, and was compiled", remedy)
        return
    try:
        expected = compile_assign(assign)
    except BadAssign as bad:
        remedy = "correct the line, then: eqmail user compile"
        yield Finding("users.assign", ERROR, f"{assign_path(site)}: line {bad.line}: is no entry", remedy)
        return
    if database != expected:
        fact = f"{database_path(site)}: {'missing' if database is None else 'not what its text says'}"
        yield Finding("users.stale", ERROR, fact, ("eqmail", "user", "compile"))


def check_aliases(site: Site) -> Iterator[Finding]:
    """Whether the addresses that every host must have lead somewhere."""
    for item in alias_folder(site):
        yield Finding("aliases.home", WARNING, f"{item.path}: {item.found}", f"better {item.expected}")
    for item in examined(site, DiskFilesystem(site.home)):
        fact, remedy = f"{item.path}: {item.found}", f"{SEVERITY_WORDS[item.severity]} {item.expected}"
        yield Finding("aliases.misread", WARNING, fact, remedy)
    controls = read_controls(site)
    host = (controls.locals or [b""])[0]
    for name in (POSTMASTER, *LINKED_TO_BOUNCE_CONFIG, ROOT):
        found = route_address(site, name.encode() + (b"@" + host if host else b""))
        if found.failure.endswith("(#5.1.1)"):
            folder = os.fsdecode(found.user.home) if found.user else site.alias
            fact = f"{folder}/{file_of(name)}: missing, so mail for {name} bounces"
            yield Finding("aliases.missing", WARNING, fact, "give the address of a person: eqmail alias init ADDRESS")
        elif found.failure:
            fact = f"mail for {name} is not delivered: {found.failure}"
            yield Finding("aliases.trouble", ERROR, fact, ("eqmail", "explain", name))


def check_relaying(site: Site) -> Iterator[Finding]:
    """Whether unknown clients may relay."""
    controls = read_controls(site)
    try:
        is_open = controls.rcpthosts is None
    except ControlError as error:
        fact = f"{site.control}/{error}, so mail from other hosts is refused for now"
        yield Finding("relaying.unreadable", ERROR, fact, "make the file readable; removing it would open the relay")
        is_open = False
    if is_open:
        remedy = "eqmail domain add DOMAIN makes the file, with all domains that are delivered here"
        fact = f"{site.control}/{Controls.rcpthosts.file}: missing, so this host relays for the whole world"
        yield Finding("relaying.open", ERROR, fact, remedy)
    if not controls.rcptcheck:
        fact = f"{site.control}/{Controls.rcptcheck.file}: unknown recipients are accepted and cause backscatter"
        yield Finding("relaying.backscatter", NOTE, fact, ("eqmail", "config", "set", Controls.rcptcheck.file, "*"))
    where = f"{site.control}/{Controls.relayclients.file}"
    for entry in controls.relayclients or ():
        try:
            network = ip_network(os.fsdecode(entry), strict=False)
        except ValueError:
            continue
        if network.prefixlen < _WIDEST[network.version]:
            remove = ("eqmail", "config", "remove", Controls.relayclients.file, str(network))
            yield Finding("relaying.everybody", ERROR, f"{where}: {network} is half the world", remove)
    for path in (place.format(home=site.home) for place in RULES):
        if os.path.exists(path):
            yield from _rules(path)


def _rules(path: str) -> Iterator[Finding]:
    try:
        rule = find_rule(path, _OUTSIDE_ADDRESS, None, None)
    except OSError as error:
        yield Finding("relaying.rules", ERROR, f"{path}: {error.strerror or error}", "make it anew with tcprules")
        return
    if rule is not None and not rule.denies and b"RELAYCLIENT" in rule.variables:
        remedy = "set RELAYCLIENT for your own networks only, then run tcprules"
        yield Finding("relaying.rules", ERROR, f"{path}: sets RELAYCLIENT for everybody", remedy)
    text = path.removesuffix(".cdb")
    if os.path.exists(text) and os.path.getmtime(text) > os.path.getmtime(path):
        compile_rules = ("sh", "-c", f"tcprules {shlex.quote(path)} {shlex.quote(path)}.tmp < {shlex.quote(text)}")
        yield Finding("relaying.stale-rules", WARNING, f"{path}: older than {text}", compile_rules)


def check_certificates(site: Site) -> Iterator[Finding]:
    """Whether certificates are valid, for how long, and whether their keys are kept."""
    from cryptography import x509

    from eqmail_setup.mail.certificates import pair_trouble

    for control in (Controls.servercert, Controls.clientcert):
        path = f"{site.control}/{control.file}"
        content = read_file(path)
        if content is None:
            continue
        try:
            end = x509.load_pem_x509_certificate(content).not_valid_after_utc
        except ValueError:
            remedy = "put the certificate chain and the key into it, or remove it"
            yield Finding("certificates.unreadable", ERROR, f"{path}: holds no certificate", remedy)
            continue
        left, day = end - datetime.now(UTC), f"{end:%Y-%m-%d}"
        if left < timedelta():
            yield Finding("certificates.expired", ERROR, f"{path}: expired on {day}", "get a new certificate")
        elif left < _SOON:
            yield Finding("certificates.expires", WARNING, f"{path}: expires on {day}", "get a new certificate soon")
        if b"PRIVATE KEY" not in content:
            yield Finding("certificates.no-key", ERROR, f"{path}: holds no private key", "append the key")
        elif trouble := pair_trouble(content):
            fact = f"{path}: {trouble}, so there is no TLS with it"
            yield Finding("certificates.pair", ERROR, fact, "put a matching pair there: eqmail cert install CHAIN KEY")
        if b"PRIVATE KEY" in content and stat.S_IMODE(os.stat(path).st_mode) & 0o004:
            fact = f"{path}: everybody can read the private key"
            yield Finding(OPEN_KEY, ERROR, fact, ("chmod", "0640", path))
