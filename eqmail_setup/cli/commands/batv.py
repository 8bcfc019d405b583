"""`eqmail batv`: signed senders."""

from typing import TYPE_CHECKING

import click

from eqmail_setup.cli.commands.return_path import add_verbs

if TYPE_CHECKING:
    from eqmail_setup.mail.return_path import SenderScheme


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


def _scheme() -> "SenderScheme":
    from eqmail_setup.mail.return_path import BATV

    return BATV


add_verbs(command, _scheme)
