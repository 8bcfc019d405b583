"""From an installation to its document.

Fails: EqmailError where a file cannot be read.
"""

from collections.abc import Iterator

from eqmail_core.auth.secrets_file import entries as secret_entries
from eqmail_core.control.controls import Controls
from eqmail_core.control.list_kinds import Lines, Map
from eqmail_core.control.setting import Control
from eqmail_core.site.site import Site
from eqmail_core.text.lines import non_empty_lines
from eqmail_setup.declarative.document import (
    DomainSection,
    MailboxSection,
    ServiceSection,
    Setting,
    SiteDocument,
    UserSection,
)
from eqmail_setup.mail import credentials
from eqmail_setup.mail.aliases import aliases_in
from eqmail_setup.mail.assign_file import AssignEntry
from eqmail_setup.mail.catch_all import catch_all_of
from eqmail_setup.mail.domains import domains_of
from eqmail_setup.mail.mailboxes import Mailbox, domain_entry, list_mailboxes, standard_home
from eqmail_setup.mail.users import read_entries
from eqmail_setup.services.state import load_services
from eqmail_setup.settings.editor import content_of
from eqmail_setup.transaction.filesystem import Filesystem, snapshot

OF_OTHER_SECTIONS = {
    control.file
    for control in (
        *(Controls.me, Controls.locals, Controls.virtualdomains, Controls.rcpthosts),
        *(Controls.morercpthosts, Controls.morercpthosts_cdb),
    )
}
"""Control files whose content is said elsewhere in the document."""


def is_setting(control: Control[object]) -> bool:
    """Whether a control file belongs into the section of settings.

    Keys, databases, lists of secrets and files of domains do not.
    """
    if control.is_secret and control.kind == "list":
        return False
    return control.file not in OF_OTHER_SECTIONS and not control.file.endswith((".pem", ".cdb", ".cnf"))


def dump_site(site: Site, filesystem: Filesystem, with_secrets: bool) -> SiteDocument:
    """The document of an installation; without secrets, password hashes and logins are left out."""
    boxes = [box for box in list_mailboxes(site, filesystem) if is_standard(site, box)]
    me = content_of(site, filesystem, Controls.me)
    secrets = _secrets(site, filesystem)
    return SiteDocument(
        schema="eqmail/site-1",
        host=(me or b"").decode("utf-8", "replace").strip(),
        settings=dict(_settings(site, filesystem)),
        domains={
            it.name: DomainSection(
                kind=it.kind,  # type: ignore[arg-type]
                prefix=it.prefix,
                accepted=it.accepted,
                catch_all=catch_all_of(site, filesystem, it.name) if it.prefix == it.name else [],
            )
            for it in domains_of(site, filesystem)
        },
        mailboxes={str(box.address): _mailbox(box, secrets if with_secrets else {}) for box in boxes},
        aliases={it.name: it.same_as or list(it.lines) for it in aliases_in(site, filesystem)},
        users=dict(_users(site, boxes)),
        logins={name: secret for name, secret in secrets.items() if name not in {str(box.address) for box in boxes}}
        if with_secrets
        else None,
        services=[
            ServiceSection(manager=it.manager, name=it.name, services=list(it.services), options=list(it.options))
            for it in load_services(site, filesystem)
        ],
    )


def is_standard(site: Site, box: Mailbox) -> bool:
    """Whether a mailbox is as `eqmail mailbox add` makes it; others are entries of users."""
    entry = box.entry
    return (entry.user, entry.home, entry.dash, entry.ext) == (
        box.address.local,
        standard_home(site, box.address),
        "",
        "",
    )


def user_key(entry: AssignEntry) -> str:
    """The key of an entry in the section of users."""
    return entry.local + "*" if entry.wildcard else entry.local


def _settings(site: Site, filesystem: Filesystem) -> Iterator[tuple[str, Setting]]:
    for control in Controls.declared().values():
        content = content_of(site, filesystem, control) if is_setting(control) else None
        if content is None:
            continue
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            continue  # no text: not for a document of text
        if isinstance(control, Lines | Map):
            yield control.file, [line.decode("utf-8") for line in non_empty_lines(content)]
        else:
            yield control.file, text if control.kind == "file" else text.removesuffix("\n")


def _mailbox(box: Mailbox, secrets: dict[str, str]) -> MailboxSection:
    return MailboxSection(
        ids=f"{box.entry.uid}:{box.entry.gid}",
        quota=box.quota_bytes,
        forwards=list(box.forwards),
        keep=box.keeps,
        password=secrets.get(str(box.address), ""),
    )


def _users(site: Site, boxes: list[Mailbox]) -> Iterator[tuple[str, UserSection]]:
    assignments = read_entries(site)
    made = {box.entry.key() for box in boxes}
    for box in boxes:
        made.add(domain_entry(site, box.address.domain, (box.entry.uid, box.entry.gid)).key())
    for entry in assignments.entries():
        if entry.key() not in made:
            yield (
                user_key(entry),
                UserSection(
                    user=entry.user,
                    ids=f"{entry.uid}:{entry.gid}",
                    home=entry.home,
                    dash=entry.dash,
                    extension=entry.ext,
                ),
            )


def _secrets(site: Site, filesystem: Filesystem) -> dict[str, str]:
    state = snapshot(credentials.path_in(site), filesystem)
    found: dict[str, str] = {}
    for login, secret in secret_entries(state.content if state else b""):
        found.setdefault(login.decode("utf-8", "replace"), secret.decode("utf-8", "replace"))
    return found
