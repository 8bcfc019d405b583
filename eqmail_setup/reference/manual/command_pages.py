"""A manual page for each command of `eqmail`, with its subcommands, made from its --help."""

from collections.abc import Iterator

from eqmail_setup.errors import EXIT_CODE_MEANINGS
from eqmail_setup.reference.command_help import EXAMPLE_MARK, CommandHelp, OptionHelp
from eqmail_setup.reference.manual.roff import Page


def command_pages(top: CommandHelp) -> Iterator[Page]:
    """`eqmail` itself, then every command that it lists."""
    yield _overview(top)
    for command in top.commands:
        yield _page(command)


def _overview(top: CommandHelp) -> Page:
    page = Page("eqmail", 8, "install, configure, check and run eQmail")
    page.heading("SYNOPSIS")
    page.usage("eqmail [--home DIR] COMMAND [ARGUMENT ...]")
    page.heading("DESCRIPTION")
    _help(page, top.text)
    _options(page, top.options)
    page.heading("COMMANDS")
    for command in top.commands:
        page.item(command.path, f"{command.short} See `eqmail-{command.name}`(8).")
    _exits(page)
    page.see_also(["qmail-control(5)", "qmail-conf(5)", "eqmail-hierarchy(7)"])
    return page


def _page(command: CommandHelp) -> Page:
    page = Page(f"eqmail-{command.name}", 8, command.short.rstrip("."))
    page.heading("SYNOPSIS")
    for part in command.commands or (command,):
        page.usage(part.usage)
    page.heading("DESCRIPTION")
    _help(page, command.text)
    _options(page, command.options)
    if command.commands:
        page.heading("SUBCOMMANDS")
        for part in command.commands:
            page.subheading(part.path)
            _help(page, part.text)
            _options(page, part.options, "")
    _exits(page)
    page.see_also(["eqmail(8)", "qmail-control(5)"])
    return page


def _help(page: Page, text: str) -> None:
    """The help of a command; a paragraph whose lines must stay as they are has a title before them."""
    for paragraph in text.split("\n\n"):
        kept = paragraph.removeprefix(EXAMPLE_MARK)
        if kept == paragraph:
            page.text(paragraph)
            continue
        title, _, lines = kept.partition("\n")
        page.text(title)
        page.literal("\n".join(line.removeprefix("  ") for line in lines.split("\n")))


def _options(page: Page, options: tuple[OptionHelp, ...], title: str = "OPTIONS") -> None:
    if options and title:
        page.heading(title)
    for option in options:
        page.item(option.usage, option.line)


def _exits(page: Page) -> None:
    page.heading("EXIT STATUS")
    for code, meaning in EXIT_CODE_MEANINGS.items():
        page.item(str(code.value), meaning)
