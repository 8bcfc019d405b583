"""`eqmail srs`: rewritten senders of forwarded mail."""

import click

from eqmail_setup.cli.commands.return_path import run
from eqmail_setup.cli.options import ChangeOptions, change_options


@click.group("srs")
def command() -> None:
    """Rewrite the senders of mail that is forwarded to other hosts (SRS), so that SPF there passes.

    Mail of senders elsewhere that an alias or a .qmail file forwards to another host leaves with a sender in
    control/srsdomain; bounces to it go to the sender. Other mail keeps its sender.

    \b
    Examples:
      eqmail srs on
      eqmail srs rotate
    """


@command.command("on")
@change_options
@click.pass_context
def on(context: click.Context, change: ChangeOptions) -> int:
    """Make a secret, unless there is one.

    \b
    Examples:
      eqmail srs on
    """
    from eqmail_setup.mail.return_path import SRS, plan_on

    return run(context, change, SRS, plan_on)


@command.command("rotate")
@change_options
@click.pass_context
def rotate(context: click.Context, change: ChangeOptions) -> int:
    """Make a new current secret; bounces to senders of the last two are still accepted.

    \b
    Examples:
      eqmail srs rotate
    """
    from eqmail_setup.mail.return_path import SRS, plan_rotate

    return run(context, change, SRS, plan_rotate)


@command.command("off")
@change_options
@click.pass_context
def off(context: click.Context, change: ChangeOptions) -> int:
    """Remove the secrets; bounces to senders made with them are refused.

    \b
    Examples:
      eqmail srs off
    """
    from eqmail_setup.mail.return_path import SRS, plan_off

    return run(context, change, SRS, plan_off)
