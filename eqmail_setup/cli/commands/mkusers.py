"""`eqmail mkusers`: create the groups and users of the services; what exists and fits is kept."""

import os
import shlex
from typing import NamedTuple

import click

from eqmail_core.site.site import Site
from eqmail_setup.cli.context import load_or_propose, stage_of
from eqmail_setup.cli.execute import execute, print_plan, report
from eqmail_setup.cli.options import ChangeOptions, staged_change_options
from eqmail_setup.errors import permission_required
from eqmail_setup.installation.account_creation import (
    AccountDatabase,
    Command,
    create,
    find_account_tool,
    missing_commands,
    nologin_shell,
    sysusers_lines,
)
from eqmail_setup.installation.manifest_nodes import DirectorySpec, ExactFileSpec, NodeSpec, Permissions
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.operations import Description, PredictedChanges, Verb
from eqmail_setup.transaction.plan import Change, apply_changes, compare_with_manifest

_SYSUSERS = "/usr/lib/sysusers.d"


class CreateAccount(NamedTuple):
    """Create one group or user; it is outside of the home, so no rollback removes it."""

    words: Command

    def describe(self, filesystem: Filesystem) -> Description:
        """The command."""
        return Description(Verb.RUN, "", shlex.join(self.words))

    def predicted_changes(self, filesystem: Filesystem) -> PredictedChanges:
        """Nothing in the home."""
        yield from ()

    def apply(self, filesystem: Filesystem) -> None:
        """Do it."""
        create(self.words)


@click.command("mkusers")
@click.option("--conf", metavar="DIR", help="Folder with conf-users and conf-groups; else the current folder.")
@staged_change_options
@click.pass_context
def command(context: click.Context, conf: str | None, change: ChangeOptions) -> int:
    """Create the accounts: alias qmaild qmaill qmailp in nofiles, qmailq qmailr qmails in qmail.

    Other names come from conf-users and conf-groups. Numbers are the first free ones from 200 on. With --root no
    account is made, but a file from which systemd-sysusers makes them when a package is installed.

    \b
    Examples:
      eqmail mkusers --dry-run
      eqmail mkusers --conf ./conf
      eqmail mkusers --root /tmp/package
    """
    stage = stage_of(context)
    site = load_or_propose(context, conf, root=stage).site
    if stage:
        os.makedirs(stage, exist_ok=True)
        execute(context, site, change, lambda world: compare_with_manifest(_file(site), world))
        return 0
    commands = missing_commands(site, AccountDatabase.used_ids(), find_account_tool(), nologin_shell())
    filesystem = DiskFilesystem(site.home)
    expected = [Change(words[-1], "missing", "account", CreateAccount(words)) for words in commands]
    if change.preview_only:
        print_plan(expected, filesystem, change.as_json, change.diff, change.verbose)
        return 0
    if expected and os.geteuid() != 0:
        raise permission_required("mkusers: needs root", ("eqmail", "mkusers", "--dry-run"))
    done: list[Description] = []
    apply_changes(expected, filesystem, lambda operation: done.append(operation.describe(filesystem)))
    report(site.home, 0, done, [], change)
    return 0


def _file(site: Site) -> list[NodeSpec]:
    """The file of accounts for systemd-sysusers, with its folders."""
    permissions = Permissions("root", "root", 0o755)
    parts = _SYSUSERS.split("/")
    folders: list[NodeSpec] = [
        DirectorySpec("/".join(parts[: number + 1]), permissions) for number in range(1, len(parts))
    ]
    content = "\n".join(sysusers_lines(site, nologin_shell())) + "\n"
    return [*folders, ExactFileSpec(f"{_SYSUSERS}/eqmail.conf", permissions._replace(mode=0o644), content.encode())]
