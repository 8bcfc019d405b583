"""`eqmail demo`: an installation of the caller's own, below one folder, shown at work and stopped again."""

import os
import time
from pathlib import Path
from shutil import which
from tempfile import mkdtemp

import click

from eqmail_core.site.site import Site
from eqmail_setup.demo import HOST, Demo, interrupted_by_term, remove_old_demo
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.loading import MAX_HOME_LENGTH
from eqmail_setup.installation.manifest import installation_manifest
from eqmail_setup.settings.classic_steps import run_steps
from eqmail_setup.settings.initial import plan_initial_settings
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
from eqmail_setup.transaction.operations import Operation
from eqmail_setup.transaction.plan import apply_changes, compare_with_manifest

MARK = ".made-by-eqmail-demo"
_IN_CHECKOUT = (
    "sudo make users setup",
    'sudo ./config-fast "$(hostname -f)"',
    "sudo /var/qmail/bin/eqmail run --smtp 0.0.0.0:25",
)
_ELSEWHERE = (
    "sudo eqmail mkusers && sudo eqmail setup",
    'sudo eqmail config-fast "$(hostname -f)"',
    "sudo eqmail run --smtp 0.0.0.0:25",
)


@click.command("demo")
@click.option("--folder", metavar="DIR", default=".demo", help="Where everything goes; .demo when left out.")
@click.pass_context
def command(context: click.Context, folder: str) -> int:
    """Set up a private installation, send mail through it, show what happens, and stop it. Needs no root.

    \b
    Examples:
      eqmail demo
      eqmail demo --folder /tmp/demo
    """
    begun = time.monotonic()
    home = os.path.abspath(f"{folder}/home")
    if len(os.fsencode(home)) > MAX_HOME_LENGTH:
        # The addresses of Unix sockets are short; the log and the letters are shown all the same.
        home = os.path.join(mkdtemp(prefix="eqmail-demo-"), "home")
    remove_old_demo(home, MARK)
    site = Site(home=home, single_user=True)
    click.echo(f"Setting up a private installation in {home}")
    os.makedirs(home)
    Path(home, MARK).touch()
    filesystem = DiskFilesystem(home)
    done = apply_changes(
        compare_with_manifest(installation_manifest(site, caller()), filesystem), filesystem, _silently
    )
    click.echo(f"   {done} directories, files and programs")
    run_steps(
        site,
        "config-fast",
        lambda world: plan_initial_settings(site, HOST, world),
        lambda line: click.echo(f"   {line}"),
    )
    demonstration = Demo(site, click.echo)
    demonstration.prepare()
    click.echo("\nStarting the services")
    with interrupted_by_term():
        try:
            port = demonstration.start()
            demonstration.send(port)
            demonstration.show()
            click.echo("\nStopping the services")
        finally:
            demonstration.stop()
    click.echo(f"\nDone in {time.monotonic() - begun:.1f} seconds. A real installation:")
    for line in _IN_CHECKOUT if os.path.exists("Makefile") and which("make") else _ELSEWHERE:
        click.echo(f"   {line}")
    return 0


def _silently(action: Operation) -> None:
    """Report nothing."""
