"""`eqmail mkusers`: create the groups and users of the services; what exists and fits is kept."""

import os
import shlex
import subprocess

import click

from eqmail_setup.accounts import Census, missing_commands, shell_of_nobody, tool_of_system
from eqmail_setup.opened import open_installation
from eqmail_setup.refusal import Refusal, privilege


@click.command("mkusers")
@click.option("--dry-run", is_flag=True, help="Print the commands, and run none.")
@click.option("--conf", metavar="DIR", help="Folder with conf-users and conf-groups; else the current folder.")
@click.pass_context
def command(context: click.Context, dry_run: bool, conf: str | None) -> int:
    """Create the accounts: alias qmaild qmaill qmailp in nofiles, qmailq qmailr qmails in qmail.

    Other names come from conf-users and conf-groups. Numbers are the first free ones from 200 on.

    \b
    Examples:
      eqmail mkusers --dry-run
      eqmail mkusers --conf ./conf
    """
    site = open_installation(context, conf).site
    commands = missing_commands(site, Census.taken(), tool_of_system(), shell_of_nobody())
    if not commands:
        click.echo("nothing to do")
        return 0
    if not dry_run and os.geteuid() != 0:
        raise privilege("mkusers needs root; --dry-run prints the commands that it would run")
    for words in commands:
        click.echo(shlex.join(words))
        if not dry_run:
            _run(words)
    return 0


def _run(words: tuple[str, ...]) -> None:
    ended = subprocess.run(words, stderr=subprocess.PIPE, text=True, check=False)
    if ended.returncode != 0:
        reason = ended.stderr.strip().splitlines()
        raise Refusal(f"{shlex.join(words)}: {reason[-1] if reason else f'exit code {ended.returncode}'}")
