"""`eqmail batv`: signed senders."""

import click

from eqmail_setup.cli.commands.return_path import run
from eqmail_setup.cli.options import ChangeOptions, change_options


@click.group("batv")
def command() -> None:
    """Sign the senders of this host's domains in mail that leaves (BATV), so that false bounces are recognized.

    Bounces to signed senders are accepted for a week. With control/batvcheck bounces to unsigned ones are refused.
    Where other hosts send mail of the same domains too, leave that off.

    \b
    Examples:
      eqmail batv on
      eqmail batv rotate
    """


@command.command("on")
@change_options
@click.pass_context
def on(context: click.Context, change: ChangeOptions) -> int:
    """Make a secret, unless there is one.

    \b
    Examples:
      eqmail batv on
    """
    from eqmail_setup.mail.return_path import BATV, plan_on

    return run(context, change, BATV, plan_on)


@command.command("rotate")
@change_options
@click.pass_context
def rotate(context: click.Context, change: ChangeOptions) -> int:
    """Make a new current secret; bounces to senders of the last two are still accepted.

    \b
    Examples:
      eqmail batv rotate
    """
    from eqmail_setup.mail.return_path import BATV, plan_rotate

    return run(context, change, BATV, plan_rotate)


@command.command("off")
@change_options
@click.pass_context
def off(context: click.Context, change: ChangeOptions) -> int:
    """Remove the secrets; bounces to senders made with them are refused.

    \b
    Examples:
      eqmail batv off
    """
    from eqmail_setup.mail.return_path import BATV, plan_off

    return run(context, change, BATV, plan_off)
