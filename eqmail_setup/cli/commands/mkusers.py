"""`eqmail mkusers`: create the groups and users of the services; what exists and fits is kept."""

import json
import os
import shlex
from typing import NamedTuple

import click

from eqmail_core.site.site import Site
from eqmail_setup.errors import privilege
from eqmail_setup.installation.account_creation import (
    Census,
    Command,
    create,
    missing_commands,
    shell_of_nobody,
    sysusers_lines,
    tool_of_system,
)
from eqmail_setup.installation.loading import open_installation, stage_of
from eqmail_setup.installation.manifest_nodes import Directory, Dress, Node, Settled
from eqmail_setup.transaction.disk_filesystem import RealWorld
from eqmail_setup.transaction.filesystem import World
from eqmail_setup.transaction.operations import Left
from eqmail_setup.transaction.plan import Difference, observe
from eqmail_setup.transaction.transaction import Manner, carry_out, preview, staging

_SYSUSERS = "/usr/lib/sysusers.d"


class Create(NamedTuple):
    """Create one group or user; it is outside of the home, so no rollback removes it."""

    words: Command

    def sentence(self, world: World) -> str:
        """The command."""
        return shlex.join(self.words)

    def leaves(self, world: World) -> Left:
        """Nothing in the home."""
        yield from ()

    def perform(self, world: World) -> None:
        """Do it."""
        create(self.words)


@click.command("mkusers")
@click.option("--conf", metavar="DIR", help="Folder with conf-users and conf-groups; else the current folder.")
@staging
@click.pass_context
def command(context: click.Context, conf: str | None, manner: Manner) -> int:
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
    site = open_installation(context, conf, root=stage).site
    if stage:
        os.makedirs(stage, exist_ok=True)
        carry_out(context, site, manner, lambda world: observe(_file(site), world))
        return 0
    commands = missing_commands(site, Census.taken(), tool_of_system(), shell_of_nobody())
    world = RealWorld(site.home)
    wanted = [Difference(words[-1], "missing", "an account", Create(words)) for words in commands]
    if manner.only_look:
        preview(wanted, world, manner.as_json, manner.diff)
        return 0
    if wanted and os.geteuid() != 0:
        raise privilege("mkusers needs root; --dry-run prints the commands that it would run")
    for words in commands:
        if not manner.as_json:
            click.echo(shlex.join(words))
        create(words)
    if manner.as_json:
        click.echo(json.dumps({"done": [shlex.join(words) for words in commands]}, indent=1))
    elif not commands:
        click.echo("nothing to do")
    return 0


def _file(site: Site) -> list[Node]:
    """The file of accounts for systemd-sysusers, with its folders."""
    dress = Dress("root", "root", 0o755)
    parts = _SYSUSERS.split("/")
    folders: list[Node] = [Directory("/".join(parts[: number + 1]), dress) for number in range(1, len(parts))]
    content = "\n".join(sysusers_lines(site, shell_of_nobody())) + "\n"
    return [*folders, Settled(f"{_SYSUSERS}/eqmail.conf", dress._replace(mode=0o644), content.encode())]
