"""`eqmail reload`: make running services read their settings again."""

import click

from eqmail_setup.cli.context import require_installation
from eqmail_setup.settings.reload import reload_services


@click.command("reload")
@click.pass_context
def command(context: click.Context) -> int:
    """Send HUP to qmail-start, which passes it on to all services that can read settings while they run.

    \b
    Examples:
      eqmail reload
    """
    click.echo(reload_services(require_installation(context)))
    return 0
