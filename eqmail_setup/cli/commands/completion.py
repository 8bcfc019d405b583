"""`eqmail completion`: what a shell needs to complete the commands and options of eqmail."""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_EQMAIL_COMPLETE"


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> int:
    """Print the completion script of eqmail for SHELL: bash, zsh or fish.

    \b
    Examples:
      eqmail completion bash > /etc/bash_completion.d/eqmail
      eval "$(eqmail completion zsh)"
      eqmail completion fish > ~/.config/fish/completions/eqmail.fish
    """
    from eqmail_setup.cli.app import cli

    made = get_completion_class(shell)
    assert made is not None
    completion = made(cli, {}, "eqmail", _VARIABLE)
    # Not `source`: for bash it runs the installed bash to find its version, and fails without one.
    click.echo(completion.source_template % completion.source_vars())
    return 0
