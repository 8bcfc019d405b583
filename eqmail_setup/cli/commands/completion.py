"""`eqmail completion`: what a shell needs to complete commands, options and values of eqmail."""

import os

import click
from click.shell_completion import get_completion_class

from eqmail_setup.cli.output import echo, print_note
from eqmail_setup.errors import usage_error

SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_EQMAIL_COMPLETE"
FOR_ALL = {
    "bash": "/etc/bash_completion.d/eqmail",
    "zsh": "/usr/local/share/zsh/site-functions/_eqmail",
    "fish": "/etc/fish/completions/eqmail.fish",
}
FOR_ONE = {
    "bash": "~/.local/share/bash-completion/completions/eqmail",
    "zsh": "~/.zfunc/_eqmail",
    "fish": "~/.config/fish/completions/eqmail.fish",
}
"""Where each shell looks for scripts: those of root are for every user."""

_ZSH_NOTE = "zsh reads it where ~/.zshrc has, before compinit: fpath+=~/.zfunc"


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.option("--install", is_flag=True, help="Write the script to where SHELL looks for it.")
def command(shell: str | None, install: bool) -> int:
    """Print the completion script for SHELL (bash, zsh or fish), by default the shell of the caller.

    With --install root installs it for all users, others for themselves.

    \b
    Examples:
      eqmail completion --install
      eval "$(eqmail completion zsh)"
    """
    shell = shell or os.path.basename(os.environ.get("SHELL", ""))
    if shell not in SHELLS:
        raise usage_error(f"shell {shell or 'unknown'}: not supported; name one of {', '.join(SHELLS)}")
    script = _script(shell)
    if not install:
        echo(script)
        return 0
    path = FOR_ALL[shell] if os.geteuid() == 0 else os.path.expanduser(FOR_ONE[shell])
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(script + "\n")
    echo(f"Wrote {path}")
    if shell == "zsh" and os.geteuid() != 0:
        print_note(_ZSH_NOTE)
    return 0


def _script(shell: str) -> str:
    from eqmail_setup.cli.app import cli

    made = get_completion_class(shell)
    assert made is not None
    completion = made(cli, {}, "eqmail", _VARIABLE)
    # Not `source`: for bash it runs the installed bash to find its version, and fails without one.
    return completion.source_template % completion.source_vars()
