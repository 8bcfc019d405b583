"""Completion of values on the command line: settings, domains, users, aliases, transactions, queue ids, findings.

Fails: never; where the installation cannot be read there is nothing to complete.
"""

import os
from collections.abc import Callable, Iterable, Iterator

import click
from click.shell_completion import CompletionItem

from eqmail_core.site.site import Site

_MOST = 200
"""So many values are offered."""

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completer(values: Callable[[Site], Iterable[tuple[str, str]]]) -> Completer:
    """A completer of the values that an installation has, each with a word of help."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            found = [CompletionItem(value, help=text) for value, text in values(_site(context))]
        except Exception:  # a shell shows any output here in the middle of a line
            return []
        return [item for item in found if str(item.value).startswith(incomplete)][:_MOST]

    return complete


def _site(context: click.Context) -> Site:
    from eqmail_setup.installation.build_config import load_site, resolve_home

    home = context.find_root().params.get("home") or context.find_root().obj
    site = load_site(resolve_home(home, {}, os.environ))
    assert site is not None
    return site


def _settings(site: Site) -> Iterator[tuple[str, str]]:
    from eqmail_core.control.controls import Controls

    for control in Controls.declared().values():
        yield control.file, control.manual.partition(". ")[0]


def _domains(site: Site) -> Iterator[tuple[str, str]]:
    from eqmail_setup.mail.domains import domains_of
    from eqmail_setup.transaction.disk_filesystem import DiskFilesystem

    for domain in domains_of(site, DiskFilesystem(site.home)):
        yield domain.name, domain.kind


def _users(site: Site) -> Iterator[tuple[str, str]]:
    from eqmail_core.users.database import assign_path
    from eqmail_setup.mail.assign_file import read_assignments

    for entry in read_assignments(assign_path(site)).entries():
        if not entry.wildcard:
            yield entry.local, entry.home


def _aliases(site: Site) -> Iterator[tuple[str, str]]:
    from eqmail_setup.mail.aliases import aliases_in
    from eqmail_setup.transaction.disk_filesystem import DiskFilesystem

    for alias in aliases_in(site, DiskFilesystem(site.home)):
        yield alias.name, ", ".join(alias.lines)


def _transactions(site: Site) -> Iterator[tuple[str, str]]:
    from eqmail_setup.transaction.history import History

    for record in reversed(list(History(site.home).records())):
        yield str(record.number), record.command


def _messages(site: Site) -> Iterator[tuple[str, str]]:
    for part in sorted(os.listdir(f"{site.queue.root}/mess")):
        for name in os.listdir(f"{site.queue.root}/mess/{part}"):
            yield name, ""


def _logins(site: Site) -> Iterator[tuple[str, str]]:
    from eqmail_setup.mail.credentials import credentials_in
    from eqmail_setup.transaction.disk_filesystem import DiskFilesystem

    for row in credentials_in(site, DiskFilesystem(site.home)):
        yield row.login, row.method


def _findings(site: Site) -> Iterator[tuple[str, str]]:
    from eqmail_setup.diagnostics.ids import IDS

    for group, names in IDS.items():
        yield group, "all findings of the group"
        yield from ((f"{group}.{name}", "") for name in names)


def _setting_values(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The words that the setting named before may have."""
    from eqmail_core.control.controls import Controls

    name = context.params.get("name")
    control = next((control for control in Controls.declared().values() if control.file == name), None)
    if control is None:
        return []
    words = ["on", "off"] if control.kind == "flag" else [os.fsdecode(word) for word in control.words if word]
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


_SETTING, _DOMAIN, _ALIAS, _MESSAGE = (_completer(values) for values in (_settings, _domains, _aliases, _messages))
_USER, _LOGIN, _TRANSACTION, _FINDING = (_completer(values) for values in (_users, _logins, _transactions, _findings))

COMPLETERS = {
    ("config", "name"): _SETTING,
    ("config", "names"): _SETTING,
    ("config", "values"): _setting_values,
    ("domain", "domain"): _DOMAIN,
    ("dns", "domain"): _DOMAIN,
    ("dkim", "domain"): _DOMAIN,
    ("dmarc", "domain"): _DOMAIN,
    ("tls", "domain"): _DOMAIN,
    ("mailbox", "domain"): _DOMAIN,
    ("queue", "domains"): _DOMAIN,
    ("user", "local"): _USER,
    ("user", "login"): _LOGIN,
    ("auth", "login"): _LOGIN,
    ("alias", "name"): _ALIAS,
    ("queue", "number"): _MESSAGE,
    ("queue", "numbers"): _MESSAGE,
    ("history", "number"): _TRANSACTION,
    ("rollback", "number"): _TRANSACTION,
    ("doctor", "only"): _FINDING,
    ("doctor", "skip"): _FINDING,
}
"""What completes a parameter, by the command that it belongs to and its name."""


def complete_values(name: str, command: click.Command) -> None:
    """Give the parameters of a command, and of those below it, their completers."""
    for parameter in command.params:
        completer = COMPLETERS.get((name, parameter.name or ""))
        if completer is not None:
            # As the argument shell_complete of a parameter, which click keeps under this name.
            parameter._custom_shell_complete = completer
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        complete_values(name, inner)
