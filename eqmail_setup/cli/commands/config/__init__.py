"""`eqmail config`: show and change settings; what there is to set comes from the declarations."""

import click

from eqmail_setup.cli.commands.config import bulk as together
from eqmail_setup.cli.commands.config import edit as values
from eqmail_setup.cli.commands.config import entries as lists
from eqmail_setup.cli.commands.config import show as looking


@click.group("config")
def command() -> None:
    """Show and change settings. A setting has the name of its control file.

    \b
    Examples:
      eqmail config show -n
      eqmail config explain rcpthosts
      eqmail config set databytes 20000000 --reload
    """


for verb in (*looking.VERBS, *values.VERBS, *lists.VERBS, *together.VERBS):
    command.add_command(verb)
