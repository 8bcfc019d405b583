"""A manual page for each command of `eqmail`, with its subcommands, made from its --help."""

import inspect
from collections.abc import Iterator

import click

from eqmail_setup.cli.app import cli
from eqmail_setup.cli.command_table import COMMANDS
from eqmail_setup.reference.manual.roff import Page

_EXITS = (
    ("0", "All is well."),
    ("1", "Differences were found."),
    ("2", "The command was used wrongly."),
    ("3", "It could not be done, or errors were found; one line on standard error says why, and what helps."),
    ("4", "The caller lacks a privilege for it."),
)


def command_pages() -> Iterator[Page]:
    """`eqmail` itself, then every command that it lists."""
    top = click.Context(cli, info_name="eqmail")
    yield _overview(top)
    for name in cli.list_commands(top):
        command = cli.get_command(top, name)
        if command is not None:
            yield _page(command, top, name)


def page_name(name: str) -> str:
    """The page of a command; those of gen-... go by their own name too."""
    return f"eqmail-{name}"


def _overview(top: click.Context) -> Page:
    page = Page("eqmail", 8, "install, configure, check and run eQmail")
    page.heading("SYNOPSIS")
    page.usage("eqmail [--home DIR] COMMAND [ARGUMENT ...]")
    page.heading("DESCRIPTION")
    _help(page, cli)
    _options(page, cli)
    page.heading("COMMANDS")
    for name in cli.list_commands(top):
        page.item(f"eqmail {name}", f"{COMMANDS[name][1]} See `{page_name(name)}`(8).")
    _exits(page)
    page.see_also(["qmail-control(5)", "qmail-conf(5)", "eqmail-hierarchy(7)"])
    return page


def _page(command: click.Command, top: click.Context, name: str) -> Page:
    page = Page(page_name(name), 8, COMMANDS[name][1].rstrip("."))
    context = click.Context(command, parent=top, info_name=name)
    page.heading("SYNOPSIS")
    for part in _parts(command, context):
        page.usage(_usage(part))
    page.heading("DESCRIPTION")
    _help(page, command)
    _options(page, command)
    if isinstance(command, click.Group):
        page.heading("SUBCOMMANDS")
        for part in _parts(command, context):
            page.subheading(part.command_path)
            _help(page, part.command)
            _options(page, part.command, "")
    _exits(page)
    page.see_also(["eqmail(8)", "qmail-control(5)"])
    return page


def _parts(command: click.Command, context: click.Context) -> list[click.Context]:
    if not isinstance(command, click.Group):
        return [context]
    found = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
    return [click.Context(inner, parent=context, info_name=name) for name, inner in found if inner]


def _usage(context: click.Context) -> str:
    pieces = context.command.collect_usage_pieces(context)
    return " ".join([context.command_path, *pieces])


def _help(page: Page, command: click.Command) -> None:
    """The help of a command; a paragraph whose lines must stay as they are has a title before them."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        kept = paragraph.removeprefix("\b\n")
        if kept == paragraph:
            page.text(paragraph)
            continue
        title, _, lines = kept.partition("\n")
        page.text(title)
        page.literal(inspect.cleandoc(lines))


def _options(page: Page, command: click.Command, title: str = "OPTIONS") -> None:
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    if options and title:
        page.heading(title)
    for option in options:
        argument = "" if option.is_flag or not option.metavar else f" {option.metavar}"
        page.item(f"{', '.join(option.opts)}{argument}", option.help or "")


def _exits(page: Page) -> None:
    page.heading("EXIT STATUS")
    for code, meaning in _EXITS:
        page.item(code, meaning)
