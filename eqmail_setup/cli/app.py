"""The command `eqmail`: one group, its commands imported when they are called.

Every failure is one line on standard error, perhaps with a hint, and an exit code of `eqmail_setup.errors`. An internal
error shows its traceback where the variable EQMAIL_DEBUG is set.
"""

import errno
import os
import sys
from difflib import get_close_matches
from importlib import import_module
from typing import NoReturn

import click

import eqmail_core
from eqmail_core.site.layout import DEFAULT_HOME
from eqmail_setup.cli.command_table import COMMANDS, SECTIONS, SUBCOMMANDS
from eqmail_setup.cli.completers import complete_values
from eqmail_setup.cli.output import COLOR_CHOICES, configure, print_error, styled
from eqmail_setup.errors import EXIT_CODE_MEANINGS, Command, EqmailError, ExitCode

DEBUG_VARIABLE = "EQMAIL_DEBUG"
COMPLETION_VARIABLE = "_EQMAIL_COMPLETE"

_NO_ARGUMENTS: tuple[type[click.UsageError], ...] = tuple(
    kind for kind in (getattr(click.exceptions, "NoArgsIsHelpError", None),) if kind
)
"""What click raises for a group without a command, whose help is then the answer; older ones show it themselves."""


class Commands(click.Group):
    """Finds a command by importing its module; lists all of them without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return [name for name, entry in COMMANDS.items() if entry.section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"eqmail_setup.cli.commands.{COMMANDS[cmd_name].module}")
        command = module.command
        assert isinstance(command, click.Command)
        if COMPLETION_VARIABLE in os.environ:
            complete_values(cmd_name, command)
        if isinstance(command, click.Group):
            for inner, found in command.commands.items():
                found.short_help = SUBCOMMANDS.get(f"{cmd_name} {inner}", found.short_help)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section, with the same columns in all."""
        width = max(len(name) for name in COMMANDS)
        for section in SECTIONS:
            rows = [(name, entry.help) for name, entry in COMMANDS.items() if entry.section == section]
            if rows:
                with formatter.section(styled(section, "header")):
                    formatter.write_dl([(name.ljust(width), line) for name, line in rows])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(eqmail_core.VERSION, prog_name="eqmail")
@click.option("--home", metavar="DIR", help=f"The installation; default: $EQMAIL_HOME, conf-qmail, {DEFAULT_HOME}.")
@click.option("--color", type=click.Choice(COLOR_CHOICES), default="auto", show_default=True, help="When to use color.")
@click.pass_context
def cli(context: click.Context, home: str | None, color: str) -> None:
    """Install, configure, check and run eQmail."""
    context.obj = home
    configure(color, os.path.abspath(home) if home else DEFAULT_HOME)
    context.color = {"always": True, "never": False}.get(color, False if os.environ.get("NO_COLOR") else None)


cli.epilog = "\b\nExit status:\n" + "\n".join(
    f"  {code.value:3}  {meaning}" for code, meaning in EXIT_CODE_MEANINGS.items()
)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    from eqmail_setup.cli.progress import progress
    from eqmail_setup.transaction.progress import show_progress_with

    configure()
    show_progress_with(progress)
    words = sys.argv[1:] if arguments is None else arguments
    try:
        code = cli.main(arguments, prog_name="eqmail", standalone_mode=False, color=_early_color(words))
    except _NO_ARGUMENTS as asked:
        click.echo(asked.format_message(), err=True)
        return ExitCode.USAGE
    except click.UsageError as error:
        return _fail(_without_texts(error.format_message(), words), ExitCode.USAGE, _usage_hint(error))
    except click.ClickException as error:
        return _fail(_without_texts(error.format_message(), words), ExitCode.FAILED)
    except click.Abort as abort:
        if isinstance(abort.__cause__, EOFError):
            return _fail("no answer, so nothing was changed", ExitCode.FAILED)
        return _fail("interrupted", ExitCode.INTERRUPTED)
    except EqmailError as error:
        return _fail(_without_texts(error.text, words), error.code, error.hint)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ExitCode.FAILED
    except PermissionError as error:
        return _fail(f"{_system_error(error)}; needs the owner of the installation, often root", ExitCode.PERMISSION)
    except OSError as error:
        return _fail(_system_error(error), ExitCode.FAILED)
    except Exception as error:
        return _internal_error(error)
    return code if isinstance(code, int) else 0


def _early_color(words: list[str]) -> bool | None:
    """Whether help is colored, which is written before options are looked at."""
    for word in words:
        if word.startswith("--color="):
            return {"always": True, "never": False}.get(word.partition("=")[2])
    return False if os.environ.get("NO_COLOR") else None


def _usage_hint(error: click.UsageError) -> Command:
    """The command that was probably meant, else the help of the command that was called."""
    context = error.ctx
    if context is None:
        return ("eqmail", "--help")
    path = context.command_path.split(" ")
    wrong = getattr(error, "command_name", "")
    if wrong and isinstance(context.command, click.Group):
        near = get_close_matches(wrong, context.command.list_commands(context), 1)
        if near:
            return (*path, *near)
    return (*path, "--help")


_RECOGNISED = 12
"""Characters by which a word of the command line is known in an error."""


def _without_texts(said: str, words: list[str]) -> str:
    """An error without the words of the command line that have several lines: they may be keys."""
    for word in words:
        at = said.find(word[:_RECOGNISED]) if "\n" in word else -1
        if at >= 0:
            # The error may have its beginning only, as it is or as Python spells it.
            length = max(_in_common(said[at:], shown) for shown in (word, repr(word)[1:-1]))
            said = f"{said[:at]}(a text of several lines){said[at + length :]}"
    return said


def _in_common(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))


def _internal_error(error: Exception) -> int:
    import traceback

    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exc()
    place = traceback.extract_tb(error.__traceback__)[-1]
    what = f"{type(error).__name__}: {error} ({os.path.basename(place.filename)}:{place.lineno})"
    text = f"internal: {what}; please report it with the traceback that {DEBUG_VARIABLE}=1 shows"
    return _fail(text, ExitCode.INTERNAL)


_NO_SPACE = "free some space and try again; nothing was changed"
_REMEDIES = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _NO_SPACE) | {
    errno.EROFS: "mount the file system for writing",
}


def _system_error(error: OSError) -> str:
    problem = error.strerror or str(error)
    remedy = _REMEDIES.get(error.errno or 0, "")
    return (f"{error.filename}: " if error.filename is not None else "") + problem + (f"; {remedy}" if remedy else "")


def _fail(text: str, code: ExitCode, hint: Command = ()) -> int:
    print_error(text, hint)
    return code
