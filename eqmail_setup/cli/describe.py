"""The command line as values, for the reference and the manual pages, which know nothing of click."""

import inspect
from collections.abc import Iterator

import click

from eqmail_setup.cli.app import cli
from eqmail_setup.cli.command_table import COMMANDS
from eqmail_setup.cli.options import RenamedOption
from eqmail_setup.reference.command_help import ArgumentHelp, CommandHelp, OptionHelp


def describe_commands() -> CommandHelp:
    """`eqmail` with everything below it that is not hidden."""
    return _described(cli, click.Context(cli, info_name="eqmail"), "")


def _described(command: click.Command, context: click.Context, short: str) -> CommandHelp:
    return CommandHelp(
        path=context.command_path,
        usage=" ".join([context.command_path, *command.collect_usage_pieces(context)]),
        short=short,
        text=inspect.cleandoc(command.help or ""),
        options=tuple(_options(command, context)),
        arguments=tuple(
            ArgumentHelp((parameter.name or "").upper(), parameter.required)
            for parameter in command.params
            if isinstance(parameter, click.Argument)
        ),
        commands=tuple(_below(command, context)),
        is_group=isinstance(command, click.Group),
    )


def _below(command: click.Command, context: click.Context) -> Iterator[CommandHelp]:
    if not isinstance(command, click.Group):
        return
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        if found is not None and not found.hidden:
            short = COMMANDS[name].help if command is cli else found.get_short_help_str(60)
            yield _described(found, click.Context(found, parent=context, info_name=name), short)


def _options(command: click.Command, context: click.Context) -> Iterator[OptionHelp]:
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            value = "" if option.is_flag or not option.metavar else option.metavar
            default = str(option.default) if option.show_default and option.default not in (None, "") else ""
            names = option.current_names if isinstance(option, RenamedOption) else option.opts
            yield OptionHelp(", ".join(names), value, option.help or "", default)
