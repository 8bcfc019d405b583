"""`eqmail help`: the help of a command, also of one below a group."""

import click

from eqmail_setup.cli.app import cli
from eqmail_setup.cli.output import echo


@click.command("help")
@click.argument("words", metavar="[COMMAND]...", nargs=-1)
@click.pass_context
def command(context: click.Context, words: tuple[str, ...]) -> int:
    """Show the help of COMMAND, or of eqmail.

    \b
    Examples:
      eqmail help
      eqmail help domain add
    """
    shown: click.Command = cli
    here = click.Context(cli, info_name="eqmail")
    for word in words:
        if not isinstance(shown, click.Group):
            raise click.UsageError(f"{here.command_path} has no commands", here)
        _, found, _ = shown.resolve_command(here, [word])
        assert found is not None
        shown, here = found, click.Context(found, parent=here, info_name=word)
    echo(shown.get_help(here))
    return 0
