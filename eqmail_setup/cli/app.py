"""The command `eqmail`: one group, its commands imported when they are called.

Every failure is one line on standard error and an exit code of `eqmail_setup.errors`; so is a mistake of ours, whose
traceback is printed where the variable EQMAIL_DEBUG is set.
"""

import errno
import os
import sys
from importlib import import_module
from typing import NoReturn

import click

import eqmail_core
from eqmail_setup.errors import FOUND, INTERNAL, PRIVILEGE, USAGE, EqmailError

DEBUG_VARIABLE = "EQMAIL_DEBUG"

# Name, module, one line of help. Hidden commands have no line.
COMMANDS = {
    "quickstart": ("quickstart", "From nothing to a running mail server."),
    "setup": ("setup", "Install or mend an installation."),
    "check": ("check", "Compare an installation with what it should be."),
    "config-fast": ("config_fast", "Write the first control files from the host's name."),
    "config": ("config", "Show and change settings."),
    "mkusers": ("mkusers", "Create the groups and users that the services run as."),
    "alias": ("alias", "Manage the addresses that no account owns."),
    "domain": ("domain", "Manage the domains and who gets their mail."),
    "user": ("user", "Manage who gets mail under which name."),
    "cert": ("cert", "Make, renew and show the certificate of the SMTP server."),
    "doctor": ("doctor", "Find what is wrong with an installation, and what helps."),
    "explain": ("explain", "Tell where mail for an address goes."),
    "import": ("import_", "Adopt another qmail: settings, users, aliases, queue."),
    "export": ("export", "Give everything to another qmail, so that it can go on."),
    "history": ("history", "List the runs that changed the installation."),
    "rollback": ("rollback", "Take back what a run changed."),
    "queue": ("queue", "Look at the messages in the queue; hold, retry, return, delete or move them."),
    "reload": ("reload", "Make running services read their settings again."),
    "run": ("run", "Run the services in the foreground."),
    "gen-init": ("gen_init", "Make an init script, SysV or OpenRC."),
    "gen-systemd": ("gen_systemd", "Make systemd units, with sockets of their own."),
    "gen-daemontools": ("gen_daemontools", "Make service folders for daemontools."),
    "gen-runit": ("gen_runit", "Make service folders for runit."),
    "gen-s6": ("gen_s6", "Make service folders for s6."),
    "gen-xinetd": ("gen_xinetd", "Make xinetd services for SMTP and its kind."),
    "demo": ("demo", "Show an installation at work, below one folder and without root."),
    "completion": ("completion", "Print a completion script for a shell."),
    "reference": ("reference", ""),
}


_NO_ARGUMENTS: tuple[type[click.UsageError], ...] = tuple(
    kind for kind in (getattr(click.exceptions, "NoArgsIsHelpError", None),) if kind
)
"""What click raises for a group without a command, whose help is then the answer; older ones show it themselves."""


class Commands(click.Group):
    """Finds a command by importing its module; lists all of them without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return [name for name, (_, line) in COMMANDS.items() if line]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"eqmail_setup.cli.commands.{COMMANDS[cmd_name][0]}")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items() if line])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(eqmail_core.VERSION, prog_name="eqmail")
@click.option("--home", metavar="DIR", help="The installation; else EQMAIL_HOME, else conf-qmail, else /var/qmail.")
@click.pass_context
def cli(context: click.Context, home: str | None) -> None:
    """Install, configure, check and run eQmail.

    Exit codes: 0 all is well, 1 check found differences, 2 wrong usage, 3 errors were found, 4 needs a privilege, 111 a
    mistake of ours.
    """
    context.obj = home


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    try:
        code = cli.main(arguments, prog_name="eqmail", standalone_mode=False)
    except _NO_ARGUMENTS as asked:
        click.echo(asked.format_message(), err=True)
        return USAGE
    except click.ClickException as error:
        hint = getattr(error, "ctx", None)
        more = f" ({hint.command_path} --help tells more)" if hint else ""
        said = _without_texts(error.format_message(), sys.argv[1:] if arguments is None else arguments)
        return _fail(said + more, error.exit_code if isinstance(error, click.UsageError) else FOUND)
    except click.Abort:
        return _fail("interrupted", FOUND)
    except EqmailError as refusal:
        return _fail(_without_texts(refusal.text, sys.argv[1:] if arguments is None else arguments), refusal.code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FOUND
    except PermissionError as error:
        return _fail(_system_error(error) + "; the owner of the installation, often root, may do this", PRIVILEGE)
    except OSError as error:
        return _fail(_system_error(error), FOUND)
    except Exception as mistake:
        return _internal_error(mistake)
    return code if isinstance(code, int) else 0


_RECOGNISED = 12
"""Length of the prefix by which an argument is recognized in an error text."""


def _without_texts(said: str, words: list[str]) -> str:
    """An error text without the arguments that are whole texts: they may be keys."""
    for word in words:
        at = said.find(word[:_RECOGNISED]) if "\n" in word else -1
        if at >= 0:
            # The error text may contain the beginning only, literally or as Python's repr.
            length = max(_in_common(said[at:], shown) for shown in (word, repr(word)[1:-1]))
            said = f"{said[:at]}(a text of several lines){said[at + length :]}"
    return said


def _in_common(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))


def _internal_error(mistake: Exception) -> int:
    import traceback

    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exc()
    place = traceback.extract_tb(mistake.__traceback__)[-1]
    what = f"{type(mistake).__name__}: {mistake} ({os.path.basename(place.filename)}:{place.lineno})"
    more = f"please report this; with {DEBUG_VARIABLE}=1 the command tells the whole story"
    return _fail(f"fatal: internal: {what}; {more}", INTERNAL)


_NO_ROOM = "make room, then give the command again; nothing was changed"
_REMEDIES = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _NO_ROOM) | {
    errno.EROFS: "mount the file system so that it can be written",
}


def _system_error(error: OSError) -> str:
    fact = error.strerror or str(error)
    remedy = _REMEDIES.get(error.errno or 0, "")
    return (f"{error.filename}: " if error.filename is not None else "") + fact + (f"; {remedy}" if remedy else "")


def _fail(text: str, code: int) -> int:
    click.echo("eqmail: " + " ".join(text.split("\n")), err=True)
    return code


assert click.UsageError.exit_code == USAGE
