"""`eqmail import`: take over what a home of another qmail has: settings, users, aliases, and the queue."""

import os
from collections.abc import Iterator, Sequence
from typing import Literal

import click

from eqmail_core.site.site import Site
from eqmail_setup.cli.context import chosen_home, stage_of, trusted_choices
from eqmail_setup.cli.execute import execute, require_consent
from eqmail_setup.cli.options import ChangeOptions, migration_options
from eqmail_setup.cli.output import command_text
from eqmail_setup.cli.summary import summary_lines
from eqmail_setup.diagnostics.checks.old_programs import old_ways
from eqmail_setup.diagnostics.installation_check import of_finding
from eqmail_setup.errors import Severity, permission_required
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.build_config import BuildOption, BuildOptions, load_site, resolve_build_config
from eqmail_setup.installation.loading import demand_own, require_accounts, require_short_path
from eqmail_setup.installation.manifest import installation_manifest
from eqmail_setup.installation.staging import staged_site
from eqmail_setup.mail.aliases import alias_folder
from eqmail_setup.migration.options import MigrationOptions, plan_migration, programs_among, require_other_home
from eqmail_setup.migration.report import report_sections, report_text
from eqmail_setup.migration.source import LAYOUT_NAMES, demand_harmless_source, detect_source
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.operations import Description, Operation
from eqmail_setup.transaction.plan import Change, Topic, compare_with_manifest


@click.command("import")
@click.argument("folder", metavar="DIR")
@click.option(
    "--from", "kind", metavar="KIND", default="", help=f"What DIR is, else it is found out: {', '.join(LAYOUT_NAMES)}."
)
@click.option("--report", "report_file", metavar="FILE", default="", help="Also write the report to FILE.")
@click.option("--single-user", is_flag=True, help="Into a new installation of the caller alone, without root.")
@migration_options("DIR", "the installation")
@click.pass_context
def command(
    context: click.Context,
    folder: str,
    kind: str,
    report_file: str,
    single_user: bool,
    load: MigrationOptions,
    change: ChangeOptions,
) -> int:
    """Adopt the qmail in DIR: its settings, users, aliases and queue come here; DIR stays as it is.

    Where nothing is installed yet it is set up, with the delimiter and the split of DIR. The qmail in DIR must be
    stopped. Give the command again after an interruption, or for messages that came since: nothing comes twice.

    \b
    Examples:
      eqmail --home /var/eqmail import /var/qmail --dry-run
      eqmail --home /var/eqmail import /var/qmail
      eqmail --home /var/eqmail import /var/qmail --from netqmail --move --report import.txt
      eqmail --home /var/eqmail import /srv/old/qmail --root /tmp/package
    """
    stage = stage_of(context)
    source = detect_source(os.path.abspath(folder), kind)
    demand_harmless_source(source)
    options = trusted_choices()
    home = chosen_home(context, options)
    require_other_home(stage + home, source.home, "eqmail setup takes it over where it is")
    chosen = load_site(home, stage) or _new_site(home, source, options, single_user)
    require_short_path(home)
    if not stage:
        _demand_rights(chosen, change)
        demand_own(chosen)
    site = staged_site(chosen, stage)

    nodes: set[Operation] = set()

    def plan(filesystem: Filesystem) -> list[Change]:
        installed = compare_with_manifest(installation_manifest(chosen, caller(), staged=bool(stage)), filesystem)
        nodes.update(item.operation for item in installed if item.operation)
        found = [
            *installed,
            *_choices_that_differ(source, site),
            *alias_folder(site),
            *plan_migration(site.home, source, site, "", load, filesystem),
            *(() if stage else _old_ways(chosen, source)),
        ]
        if not change.preview_only:
            require_consent(
                programs_among(found),
                "These programs run as the user of the aliases. Continue?" if programs_among(found) else "",
                change,
            )
        return found

    def present(
        operations: Sequence[Operation],
        descriptions: Sequence[Description],
        mood: Literal["planned", "done"],
        notes: Sequence[Change],
    ) -> str:
        copied = [it for operation, it in zip(operations, descriptions, strict=True) if operation not in nodes]
        plain = [item.planned if mood == "planned" else item.done for item in copied]
        lines = summary_lines(plain, copied, mood, change.verbose)
        steps = () if stage else _next_steps(chosen)
        text = report_text(report_sections(len(operations) - len(copied), lines, notes, steps))
        if report_file:
            with open(report_file, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        return text

    execute(context, site, change, plan, present=present)
    return 0


def _next_steps(site: Site) -> list[str]:
    """What an administrator does after an import."""
    services = ("eqmail", "run", "--smtp", "127.0.0.1:2525") if site.single_user else ("eqmail", "service", "install")
    steps = (("eqmail", "check"), services, ("eqmail", "doctor"), ("eqmail", "queue", "list"))
    return [command_text(step) for step in steps]


def _old_ways(site: Site, source: Site) -> Iterator[Change]:
    """What still puts mail into the queue that is left behind."""
    for finding in old_ways(site, [source.home]):
        yield of_finding(finding)._replace(severity=Severity.INFO)


def _new_site(home: str, source: Site, options: BuildOptions, single_user: bool) -> Site:
    """What is chosen for a home that does not exist yet: as in the source, unless conf-* files say otherwise."""
    like: BuildOptions = {
        "break": BuildOption(source.break_char.decode("latin-1"), source.home),
        "split": BuildOption(str(source.split), source.home),
    }
    if single_user:
        like["single-user"] = BuildOption("yes", "--single-user")
    return resolve_build_config(home, like | options, None)


def _demand_rights(site: Site, change: ChangeOptions) -> None:
    if not site.single_user:
        if os.geteuid() != 0:
            raise permission_required(f"import into {site.home} needs root, because it gives files to other users")
        if not change.preview_only:
            require_accounts(site)


def _choices_that_differ(source: Site, site: Site) -> Iterator[Change]:
    found = f"a qmail of the kind {source.layout.name}, {source.split} parts, delimiter {source.break_char.decode()!r}"
    yield Change(source.home, found, "as it is", None, Severity.WARNING, Topic.SOURCE)
    if source.break_char != site.break_char:
        old, new = source.break_char.decode("latin-1"), site.break_char.decode("latin-1")
        found = f"USER{new}EXTENSION is the user's mail; it was USER{old}EXTENSION in {source.home}"
        expected = f"as there: write {old!r} to conf-break, then run eqmail setup"
        yield Change(site.home, found, expected, severity=Severity.INFO)
    if source.split != site.split:
        found = f"{site.split} parts, {source.split} in {source.home}"
        yield Change(site.queue.root, found, "as it is: messages come into the parts here", severity=Severity.WARNING)
    if source.layout.split_todo != site.layout.split_todo:
        words = {True: "parts", False: "one piece"}
        found = f"todo and intd in {words[site.layout.split_todo]}, there in {words[source.layout.split_todo]}"
        yield Change(site.queue.root, found, "as it is", severity=Severity.WARNING)
