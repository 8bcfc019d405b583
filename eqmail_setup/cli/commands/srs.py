"""`eqmail srs`: rewritten senders of forwarded mail."""

from typing import TYPE_CHECKING

import click

from eqmail_setup.cli.commands.return_path import add_verbs

if TYPE_CHECKING:
    from eqmail_setup.mail.return_path import SenderScheme


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


def _scheme() -> "SenderScheme":
    from eqmail_setup.mail.return_path import SRS

    return SRS


add_verbs(command, _scheme)
